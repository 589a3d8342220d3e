/** What the server sends and takes as JSON; made by web/scripts/schema.py, not by hand. */

/** How many events were written down. */
export interface AddedBody {
  added: number;
}

/** Two annotators on the photos that both have labelled. */
export interface Agreement {
  first: string;
  second: string;
  images: number;
  pairs: number;
  alone: number;
  iou: number | null;
}

/** How a batch of photos stands. */
export interface BatchState {
  batch: number;
  masks: number;
  open: number;
  sampled: number;
  doubtful: number;
  needed: number;
  good: number | null;
  met: boolean;
}

/** What one prompt brought: its candidates, best first, as run-lengths. */
export interface CandidatesBody {
  masks: CocoRleBody[];
  score: number[]; // 0 to 1, for each candidate
  violated_points: number[]; // indices of the clicks that the first mask contradicts
  ambiguous: boolean; // whether the first two masks are almost equally likely
  prediction_id: string | null;
}

/** How far a photo is. */
export interface ChangesBody {
  changes: number; // how often its masks were changed
  status: string;
  versions: Record<string, number> | null;
  file: string | null; // as in its planes; null if it cannot be read
}

/**
 * What numbers a channel has: the least and the most finite one, and those that become black and
 * white where no range is given for it.
 */
export interface ChannelValues {
  name: string;
  least: number;
  most: number;
  low: number;
  high: number;
}

/** A video of the project's folder. */
export interface ClipBody {
  name: string;
  video?: string | null;
}

/** `clip`: the name of one of the server's own videos. */
export interface ClipChoiceBody {
  clip: string;
}

/** A video of the project; `frames` is null where nobody knows how many it has. */
export interface ClipEntry {
  id: number;
  name: string;
  width: number;
  height: number;
  frames: number | null;
  rate: number;
  tracks: number;
  proposals: number;
  accepted: number;
  rejected: number;
}

/** The tracks of one clip. */
export interface ClipShare {
  name: string;
  frames: number | null;
  proposals: number;
  accepted: number;
  rejected: number;
  doubtful: number;
  seconds: number;
  seconds_a_track: number | null;
}

/** The videos of a project, and the names of those in its folder that were not taken up. */
export interface ClipsBody {
  clips: ClipEntry[];
  found: string[];
}

/** A mask over a photo of `size` (height, width): COCO's compressed string, or its runs. */
export interface CocoRleBody {
  size: [number, number];
  counts: string | number[];
}

/** One object, and the prediction that its last points correct. */
export interface CorrectingBody {
  points?: [number, number][] | null;
  labels?: (0 | 1)[] | null;
  box?: [number, number, number, number] | null;
  mask?: CocoRleBody | null;
  previous?: string | null;
  candidate?: number; // which of the masks of previous is corrected, counted from 0
}

/** Photos, finished ones, masks that are not rejected. */
export interface CountsBody {
  images: number;
  done: number;
  records: number;
}

/** A photo that is finished, and the seconds that it took beside its masks. */
export interface DoneBody {
  seconds?: number;
}

/** Something that the annotator did; `record` is a mask's number or its client_id. */
export interface EventBody {
  kind: string;
  tool?: string | null;
  seconds?: number;
  record?: number | string | null;
  detail?: Record<string, unknown> | null;
}

/** Several of them, in order. */
export interface EventsBody {
  events: EventBody[];
}

/** Every mask that was found, best first. */
export interface EverythingAnswer {
  records: Sa1bBody[];
}

/** `settings`: those of `anymask everything`, by their Python names, and `tile`. */
export interface EverythingBody {
  image: string;
  settings?: Record<string, unknown>;
}

/** A thing that is meant: a mask of the project, or a `point`, `box` or `mask` on a photo. */
export interface ExampleBody {
  record?: number | null;
  photo?: number | null;
  page?: number | null;
  image?: string | null;
  point?: [number, number] | null;
  box?: [number, number, number, number] | null;
  mask?: CocoRleBody | null;
}

/** A format of `anymask convert`, and what is to leave (see `ExportSettings`). */
export interface ExportBody {
  format: string;
  force?: boolean;
  only?: "done" | "labelled";
  proposals?: boolean;
  split?: string | null;
  images?: boolean;
  tolerance?: number;
  unlabelled?: "object" | "skip" | "ask"; // masks without a class; ask: 428 with their number
}

/** What is wrong, what was expected, and how to fix it. */
export interface Failure {
  message: string;
  status: number;
}

/** The body of every error. */
export interface FailureBody {
  error: Failure;
  current?: Record<string, unknown> | null;
}

/** The report of `anymask project report`; null: nothing was measured. */
export interface Figures {
  name: string;
  images: Record<string, number>;
  masks: Record<string, number>;
  paces: Pace[];
  verdicts: Record<string, number>;
  looked_at: number;
  batches: BatchState[];
  agreements: Agreement[];
  labels: Share[];
  groups: Share[];
  clips: ClipShare[];
  tracks: Record<string, number>;
  track_verdicts: Record<string, number>;
}

/** `image`: as of `SegmentBody`; a hash is enough where the whole photo is kept. */
export interface FindBody {
  words?: string | string[] | Record<string, string> | null;
  like?: ExampleBody[] | null;
  unlike?: ExampleBody[] | null;
  label?: string | null;
  score?: number | null; // minimum score
  iou?: number; // overlap from which two finds are the same object
  top_k?: number | null;
  image: string;
}

/** What was found, best first; nothing where nothing of the kind is there. */
export interface FindsAnswer {
  records: FoundBody[];
}

/** Proposals that are new, or have their name from it; so many finds were there already. */
export interface FindsBody {
  records: KeptMaskBody[];
  there: number;
}

/** What a look into the folder found. */
export interface FolderNews {
  added: number;
  gone: string[];
  unreadable: Record<string, string>;
}

/** A find: its name, the name's chance, and the second likeliest of the phrases. */
export interface FoundBody {
  id: number;
  segmentation?: CocoRleBody | null;
  polygons?: OutlineBody[] | null;
  area: number;
  bbox: [number, number, number, number];
  predicted_iou: number;
  point_coords: [number, number][];
  stability_score: number;
  crop_box: [number, number, number, number];
  parent?: number | null;
  depth?: number | null;
  label?: string | null;
  label_probability?: number | null;
  runner_up?: [string, number] | null;
}

/** A mask that a model found and nobody has stored; box: x, y, width, height. */
export interface FoundMaskBody {
  rle: CocoRleBody;
  box: [number, number, number, number];
  area: number;
  label: string | null;
  state: "proposed" | "accepted" | "rejected";
  score: number | null;
  page: number;
  notes: MaskNotes;
  provenance: OriginBody;
}

/** The objects of one frame; `file`: of a folder of frames, which one it is. */
export interface FrameBody {
  frame: number;
  file?: string | null;
  seconds: number;
  objects: ObjectBody[];
}

/** An object on one frame; `area` is worked out anew. */
export interface FramedMaskBody {
  frame: number;
  segmentation: CocoRleBody;
  area?: number;
  score?: number;
  state?: string;
  doubts?: string[];
  prompted?: boolean;
}

/** How the model is; `reason` says why it failed. */
export interface Health {
  status: "loading" | "ready" | "failed";
  model: string;
  weights_hash?: string;
  reason?: string | null;
}

/** A photo; `records` counts its masks that are not rejected. */
export interface ImageEntry {
  id: string;
  name: string;
  width: number;
  height: number;
  status: "new" | "proposed" | "done";
  version: number;
  records: number;
  group: string | null;
}

/** Photos, and what to ask with as `after` for more. */
export interface ImagesBody {
  images: ImageEntry[];
  next: string | null;
}

/** What an import did. */
export interface ImportedBody {
  new: number;
  same: number;
  strange: number;
  unread: string[];
}

/** A mask of the project, at a version. */
export interface KeptMaskBody {
  rle: CocoRleBody;
  box: [number, number, number, number];
  area: number;
  label: string | null;
  state: "proposed" | "accepted" | "rejected";
  score: number | null;
  page: number;
  notes: MaskNotes;
  provenance: OriginBody;
  id: string;
  version: number;
  author: string;
  stability: number | null;
  seconds: number;
  client_id: string | null;
}

/** The masks of a photo; `version` is the photo's. */
export interface KeptMasksBody {
  version: number;
  records: KeptMaskBody[];
}

/** An object's masks, each on a frame of its own; `prompted` ones count as what was said. */
export interface KnownMasksBody {
  masks: FramedMaskBody[];
}

/** The names that words can be; with a detector any words can be asked for. */
export interface KnownNamesBody {
  names: string[];
  detector: string | null; // detector for text prompts; null: known names of the model
}

/** A name, its color as #rrggbb, and how many masks have it. */
export interface Label {
  name: string;
  colour: string;
  masks: number;
}

/** A name, and what is to change about it; what is left out stays. */
export interface LabelBody {
  name: string;
  to?: string | null;
  colour?: string | null;
  place?: number | null;
}

/** A name that goes; its masks become nameless, or go too. */
export interface LabelFateBody {
  name: string;
  masks?: "unname" | "delete";
}

/** What one label of a volume measures. */
export interface LabelMeasure {
  label: number;
  name: string;
  voxels: number;
  volume_ml: number;
  centre_mm: [number, number, number];
  extent_mm: [number, number, number];
  slice: number;
  area_mm2: number;
  diameter_mm: number;
}

/** An object on a plane. */
export interface LabelledObjectBody {
  object: number;
  segmentation: CocoRleBody;
}

/** The labels on a slice. */
export interface LabelledSliceBody {
  axis: number;
  slice: number;
  objects: LabelledObjectBody[];
}

/** The labels on the slices across z, y and x that meet in a voxel. */
export interface LabelledSlicesBody {
  planes: LabelledSliceBody[];
}

/** The names of masks in their order. */
export interface LabelsBody {
  labels: Label[];
}

/** What people note on a mask beside its shape and name. */
export interface MaskNotes {
  tags?: string[];
  attributes?: Record<string, string>;
  comment?: string;
  locked?: boolean; // the mask cannot be edited
  hidden?: boolean; // the mask is not drawn
  level?: number; // drawing order: higher values are drawn on top
  label_probability?: number; // probability of a label that the model suggested
  objectness?: number; // probability that a proposal is an object, if the model predicts it
}

/** What each object measures, see `measure_labels`. */
export interface MeasuresBody {
  rows: LabelMeasure[];
}

/** What an object is called, and its color on a film. */
export interface NamedObjectBody {
  object: number;
  name?: string;
  colour?: string;
}

/** For each mask its likeliest names, the likeliest first; none for an empty mask. */
export interface NamesAnswer {
  suggestions: SuggestionBody[][];
  among: boolean;
}

/** Masks of one photo, and the names to choose from; all that were learned when left out. */
export interface NamesBody {
  image: string;
  masks: CocoRleBody[];
  names?: string[] | null;
  unknown?: "refuse" | "leave out" | "examples";
  top?: number;
}

/** A mask to be kept; sent twice with the same client_id, it is kept once. */
export interface NewRecordBody {
  record: RecordBody;
  client_id?: string | null;
}

/** An object's masks, one for each frame from the first to the last. */
export interface NewTrackBody {
  object: number;
  masks: FramedMaskBody[];
  label?: string | null;
  seconds?: number;
  provenance?: Record<string, unknown>;
}

/** One object on a frame. */
export interface ObjectBody {
  object: number;
  segmentation: CocoRleBody;
  area: number;
  score: number;
  state: string;
  doubts: string[];
  prompted: boolean;
}

/** What a session may be about, and how much it may hold. */
export interface OffersBody {
  clips: string[]; // videos and folders of frames on the server
  files: boolean; // whether video files are supported (PyAV is installed)
  upload_bytes: number;
  most_frames: number;
  most_objects: number;
}

/** Where a mask comes from (`Provenance`), in the page's words beside ours. */
export interface OriginBody {
  kind?: "human" | "model" | "import";
  model?: string | null;
  model_hash?: string | null;
  licence?: string | null;
  data?: string | null;
  prompts?: Record<string, unknown[]>[];
  tool?: string | null;
  stage?: "assisted" | "semi" | "auto" | "review" | null;
  source?: string | null;
  by: "human" | "model" | "import";
  points?: [number, number][] | null;
  labels?: number[] | null;
  box?: [number, number, number, number] | null;
  lasso?: [number, number][] | null;
}

/** A region: corners (x, y) in pixels; (0, 0) is the outer corner of the first pixel. */
export interface OutlineBody {
  exterior: [number, number][];
  holes: [number, number][][];
}

/** The candidates as outlines: of each mask its regions. */
export interface OutlinesBody {
  polygons: OutlineBody[][];
  score: number[];
  violated_points: number[];
  ambiguous: boolean;
  prediction_id: string | null;
}

/** Seconds a mask in one stage; None where no mask was accepted, or none cost a second. */
export interface Pace {
  stage: string;
  masks: number;
  images: number;
  seconds: number;
  seconds_a_mask: number | null;
  masks_an_hour: number | null;
}

/** A page that masks lie on, and where it is in the stack. */
export interface PageBody {
  page: number;
  name: string;
}

/** The side of a pixel along x, in a unit such as µm. */
export interface PixelSize {
  size: number;
  unit: string;
}

/** What of a photo's file can be looked at. */
export interface PlanesBody {
  first: number; // the page that is shown by default
  pages: PageBody[];
  channels: string[]; // names of the channels of each page
  colours: boolean; // the image can also be shown without selecting a channel
  pixel: PixelSize | null; // as stored in the file; null if missing
  deep: boolean; // more than 8 bits: value ranges can be selected
  file: string; // changes when the content of the file changes
  replaced: boolean;
}

/** Steps of a search that are done, and all of them; 0 of 0 while there is none. */
export interface ProgressBody {
  done: number;
  total: number;
}

/** What a page needs to begin; `made` tells it from another project of this name. */
export interface ProjectAnswer {
  name: string;
  made: number;
  labels: Label[];
  stage: "assisted" | "semi" | "auto" | "review";
  user: string;
  hint_seconds: number;
  counts: CountsBody;
}

/** A way of working for everybody in the project; what is left out stays. */
export interface ProjectBody {
  stage?: "assisted" | "semi" | "auto" | "review" | null;
}

/** The object on the frame, and the frames on which its mask is known still. */
export interface PromptedBody {
  object: number;
  segmentation: CocoRleBody;
  area: number;
  score: number;
  state: string;
  doubts: string[];
  prompted: boolean;
  known: number[][];
}

/** The object on the slice, and the slices on which its mask is known still. */
export interface PromptedSliceBody {
  object: number;
  segmentation: CocoRleBody;
  area: number;
  score: number;
  state: string;
  doubts: string[];
  prompted: boolean;
  known: number[][];
}

/** Proposals that are stored, and others below the model's thresholds. */
export interface ProposalsBody {
  records: KeptMaskBody[];
  others: FoundMaskBody[];
}

/** Where a mask comes from. */
export interface Provenance {
  kind?: "human" | "model" | "import";
  model?: string | null;
  model_hash?: string | null;
  licence?: string | null;
  data?: string | null;
  prompts?: Record<string, unknown[]>[];
  tool?: string | null;
  stage?: "assisted" | "semi" | "auto" | "review" | null;
  source?: string | null;
}

/** A mask; what the page sends beside it (box, area, id) is worked out anew. */
export interface RecordBody {
  rle: CocoRleBody;
  label?: string | null;
  state?: "proposed" | "accepted" | "rejected";
  score?: number | null;
  stability?: number | null;
  seconds?: number;
  page?: number;
  provenance?: Record<string, unknown>;
  notes?: Record<string, unknown>;
}

/** A mask to look at, and why. */
export interface ReviewBody {
  image: string;
  page: number;
  record: string;
  why: string;
}

/** A mask as an SA-1B record; `polygons` stands for `segmentation` with ?format=polygons. */
export interface Sa1bBody {
  id: number;
  segmentation?: CocoRleBody | null;
  polygons?: OutlineBody[] | null;
  area: number;
  bbox: [number, number, number, number];
  predicted_iou: number;
  point_coords: [number, number][];
  stability_score: number;
  crop_box: [number, number, number, number];
  parent?: number | null;
  depth?: number | null;
}

/** A mask as it is now, null where it is gone; `error` where the change was refused. */
export interface SavedAnswer {
  record: KeptMaskBody | null;
  error: Failure | null;
}

/** What became of each mask, in order. */
export interface SavedAnswers {
  results: SavedAnswer[];
}

/** Several masks of one photo. */
export interface SavedBodies {
  records: SavedBody[];
}

/** A mask to be kept; with `id` and `version`: in place of the one that is still at it. */
export interface SavedBody {
  record: RecordBody;
  client_id?: string | null;
  id?: number | null;
  version?: number | null;
}

/** `scan`: the name of one of the server's own; `frame`: which one of several times. */
export interface ScanChoiceBody {
  scan: string;
  frame?: number | null;
}

/** A question about photos of the project. */
export interface SearchBody {
  words?: string | string[] | Record<string, string> | null;
  like?: ExampleBody[] | null;
  unlike?: ExampleBody[] | null;
  label?: string | null;
  score?: number | null; // minimum score
  iou?: number; // overlap from which two finds are the same object
  top_k?: number | null;
}

/** How far the search of all photos is: photos that were searched, and proposals made of finds. */
export interface SearchState {
  state: "none" | "running" | "stopped" | "done" | "failed";
  question?: SearchBody | null;
  done?: number;
  total?: number;
  found?: number;
  why?: string; // details of errors, or of skipped images
}

/** One answer for each prompt, and the photo's hash for the next question. */
export interface SegmentAnswer {
  answers: CandidatesBody[] | OutlinesBody[];
  image: string;
}

/** `image`: the hash that an earlier answer gave, or a picture as base64. */
export interface SegmentBody {
  points?: [number, number][] | null;
  labels?: (0 | 1)[] | null;
  box?: [number, number, number, number] | null;
  mask?: CocoRleBody | null;
  previous?: string | null;
  candidate?: number; // which of the masks of previous is corrected, counted from 0
  image: string;
  prompt?: CorrectingBody | null;
  prompts?: CorrectingBody[] | null;
  boxes?: [number, number, number, number][] | null;
  multimask?: boolean | "auto";
  granularity?: "part" | "whole" | "all" | number;
  ranking?: "expected" | "own";
  max_hole_area?: number | string;
  min_island_area?: number | string;
  refine_edges?: boolean | "auto";
  zoom?: boolean | "auto";
  mirror?: boolean;
}

/** How much of the project one label or one group of photos is. */
export interface Share {
  name: string;
  masks: number;
  images: number;
  pixels: number;
}

/** What is meant on a slice: as for /api/segment, with the slice and the object's number. */
export interface SlicePromptBody {
  points?: [number, number][] | null;
  labels?: (0 | 1)[] | null;
  box?: [number, number, number, number] | null;
  mask?: CocoRleBody | null;
  axis?: "z" | "y" | "x";
  slice?: number;
  object?: number;
  anew?: boolean; // remove the earlier prompts of this slice
}

/** A name that a mask may have, and how likely it is. */
export interface SuggestionBody {
  label: string;
  probability: number;
}

/** A track in the database; `version` grows with every change but that of its name. */
export interface TrackEntry {
  id: number;
  clip_id: number;
  object: number;
  version: number;
  author: string;
  created: number;
  label: string | null;
  state: "proposed" | "accepted" | "rejected";
  seconds: number;
  first: number;
  last: number;
  doubtful: number;
  provenance: Provenance;
}

/** Another name for a track, and the name that it has as somebody saw it; null: none. */
export interface TrackLabelBody {
  label?: string | null;
  was?: string | null;
}

/** The masks of a track at a version of it. */
export interface TrackMasksBody {
  version: number;
  masks: FramedMaskBody[];
}

/** What a reviewer says of a track that they saw at `version`. */
export interface TrackVerdictBody {
  verdict: "accept" | "correct" | "reject";
  version: number;
  seconds?: number;
  masks?: FramedMaskBody[];
}

/** The tracks of a clip. */
export interface TracksBody {
  tracks: TrackEntry[];
}

/** The values of each channel of a page. */
export interface ValuesBody {
  channels: ChannelValues[];
}

/** What a reviewer says; `rle`: the better mask of the verdict "fix". */
export interface VerdictBody {
  verdict: "accept" | "fix" | "reject";
  rle?: CocoRleBody | null;
  seconds?: number;
}

/** `settings`: keyword arguments of `Model.track`, such as {"tracker": "match"}. */
export interface VideoBody {
  name?: string | null;
  settings?: Record<string, unknown>;
}

/** The format, what the video is called, and the objects' names and colors. */
export interface VideoExportBody {
  format: "sav" | "davis" | "coco" | "jsonl" | "film";
  look?:
    "overlay" | "masks" | "blur" | "colour" | "background-blur" | "background-colour" | "cutout";
  colour?: string;
  title?: string;
  objects?: NamedObjectBody[];
}

/** What is meant on a frame: as for /api/segment, with the frame and the object's number. */
export interface VideoPromptBody {
  points?: [number, number][] | null;
  labels?: (0 | 1)[] | null;
  box?: [number, number, number, number] | null;
  mask?: CocoRleBody | null;
  frame?: number;
  object?: number;
  anew?: boolean; // remove the earlier prompts of this frame
}

/** An open session: its name, frames so far or in all, and how long it waits to be asked. */
export interface VideoStateBody {
  name: string;
  model: string; // the tracker: that of the server, or one with a memory
  frames: number;
  rate: number; // average frames per second
  times: number[] | null;
  size: number[] | null; // height and width; null before the first frame
  objects: number[];
  known: Record<string, number[][]>; // object: frames with its mask, first to last
  doubtful: (number | string[])[][]; // frame, object, warnings
  fault: string | null; // why the frames end before the video does
  seconds_left: number;
}

/** `settings`: keyword arguments of `Model.volume`, such as {"stop": false}. */
export interface VolumeBody {
  name?: string | null;
  settings?: Record<string, unknown>;
}

/** The ending of the file, what the scan is called, and the objects' names and colors. */
export interface VolumeExportBody {
  ending: ".nii.gz" | ".seg.nrrd" | ".csv" | ".dcm" | ".rtstruct.dcm";
  title?: string;
  objects?: NamedObjectBody[];
}

/** What a session may be about, and how much it may hold. */
export interface VolumeOffersBody {
  scans: string[]; // scans on the server
  files: boolean; // whether NIfTI is supported (nibabel is installed)
  upload_bytes: number;
  volume_bytes: number;
  most_objects: number;
}

/** An open session: its scan, what is known of it, and how long it waits to be asked. */
export interface VolumeStateBody {
  name: string;
  model: string; // name of the tracking model
  shape: number[] | null; // voxels along z, y, x; null before a scan is sent
  spacing: number[] | null; // mm along z, y, x
  orientation: string | null; // directions of x, y and z, such as LPS
  window: number[] | null; // level and width of the model input
  endings: string[]; // supported export formats
  objects: number[];
  known: Record<string, number[][]>; // object: axis (0 is z), first and last slice of each stretch
  seconds_left: number;
}

/** The raw values that the model sees as black and white: level and width. */
export interface WindowBody {
  level: number;
  width: number;
}
