/** Where images and masks are kept: the words that the page and its stores share. */

import type { Features } from "../model/features";
import type { Progress } from "../model/messages";
import type { BoxXywh, CocoRle } from "../masks/rle";
import type {
  ChangesBody as Changes,
  ChannelRange,
  ConceptAnswerBody,
  ConceptBody,
  ExportBody,
  FolderNews,
  ImportedBody,
  ImageEntry as ImageRow,
  KnownNamesBody,
  Label as LabelEntry,
  LabelFateBody,
  MaskNotes as Notes,
  PlanesBody,
  ProjectAnswer,
  ReviewBody,
  SearchBody,
  SearchState,
  TrackEntry,
  VerdictBody,
} from "./schema";

export type { Changes, ChannelRange, FolderNews, LabelEntry, Notes };
export type Stage = ProjectAnswer["stage"];
export type Arm = "model" | "control"; // with the model, or by hand; of this page alone
export type Status = TrackEntry["state"];
export type Verdict = VerdictBody["verdict"];
export type LabelChange = { to?: string; color?: string; place?: number };
export type LabelFate = NonNullable<LabelFateBody["masks"]>; // of the masks of a name that goes
export type ImageEntry = Omit<ImageRow, "group" | "status"> & { status: string };
export type ReviewItem = Omit<ReviewBody, "page"> & { page?: number };
export type ExportWish = Required<ExportBody>; // formats are those of `anymask convert`
/** What of an image's file can be looked at; only a server knows what its file is. */
export type Planes = Omit<PlanesBody, "file" | "replaced"> & Partial<PlanesBody>;

export interface Project {
  name: string;
  made?: number; // when, which tells it from another project of this name
  labels: LabelEntry[];
  stage: Stage;
  arm?: Arm;
  user: string;
  counts: Record<string, number>;
}

/** One of them; null: as it comes. */
export interface Plane {
  page: number | null;
  channel: Channel;
}

/** The place of a channel, several put together (see `state/composite.ts`), or as it comes. */
export type Channel = number | string | null;

export const AS_IT_COMES: Plane = { page: null, channel: null };

export const ONE_PLANE: Planes = {
  first: 0,
  pages: [{ page: 0, name: "" }],
  channels: [],
  colors: true,
  pixel: null,
  deep: false,
};

/** A mask as it is kept. */
export interface SavedRecord {
  id: string;
  version: number;
  page?: number; // of the image's file on which it lies
  rle: CocoRle;
  box: BoxXywh;
  area: number;
  score: number | null;
  label: string | null;
  state: Status;
  provenance: Record<string, unknown>;
  notes?: Notes;
  client_id?: string;
}

/** `seconds`: what the mask cost since it was sent last. */
export type Draft = Omit<SavedRecord, "id" | "version"> & { seconds?: number };

/** Every action of a person, for the measurements of the stages. */
export interface Happening {
  kind: string;
  tool: string;
  seconds: number;
  record?: string;
  detail?: Record<string, unknown>;
}

export interface Store {
  readonly kind: "server" | "local";
  readonly formats: readonly string[] | null; // of exports; null: all
  readonly sends: boolean; // whether images leave this computer to be seen
  project(): Promise<Project>;
  configure(change: Partial<Project>): Promise<void>;
  images(after: string | null, limit: number): Promise<ImagePage>;
  addImages(files: File[]): Promise<ImageEntry[]>;
  /** Take up what was put into the folder since; null where there is none. */
  scanFolder(): Promise<FolderNews | null>;
  planes(image: string): Promise<Planes>;
  values(image: string, page: number): Promise<ChannelRange[]>;
  pixels(image: string, plane?: Plane): Promise<Blob>;
  features(image: string, plane?: Plane): Promise<Features | null>;
  records(image: string): Promise<SavedRecord[]>;
  /** Whether others have changed the image's masks; without it nobody else can. */
  changes?(image: string, known: number | null): Promise<Changes>;
  create(image: string, record: Draft, clientId: string): Promise<SavedRecord>;
  update(record: SavedRecord): Promise<SavedRecord>;
  /** Several masks of an image at once, each as it is now or why it was refused. */
  saveAll?(image: string, given: Saving[]): Promise<(SavedRecord | StoreError)[]>;
  remove(id: string, version: number): Promise<void>;
  events(image: string, events: Happening[]): Promise<void>;
  /** Null: the page finds them. */
  everything(image: string, plane?: Plane, tell?: Progress): Promise<Everything | null>;
  /** Proposals of what words or examples mean. Without a server there is nobody who finds. */
  find?(image: string, question: SearchBody, plane: Plane): Promise<Finds>;
  /** Begin the search of all images, stop it (null), or look how far it is. */
  search?(question?: SearchBody | null): Promise<SearchState>;
  words?(): Promise<KnownNamesBody>;
  done(image: string): Promise<void>;
  reopen(image: string): Promise<void>; // it is not done after all
  nextReview(): Promise<ReviewItem | null>;
  /** The next phrase of an image to review; null: none is left. Only a project has phrases. */
  nextConcept?(): Promise<ConceptBody | null>;
  answerConcept?(answer: ConceptAnswerBody): Promise<void>;
  verdict(record: string, verdict: Verdict, seconds: number, rle?: CocoRle): Promise<SavedRecord>;
  removeVerdict(record: string): Promise<SavedRecord>;
  thumbnail(image: string): Promise<Blob>;
  report(): Promise<Record<string, unknown>>;
  export(wish: ExportWish): Promise<{ name: string; blob: Blob; message: string }>;
  /** Add the masks of a file. */
  import(file: File): Promise<Imported>;
  labels(): Promise<LabelEntry[]>;
  addLabel(name: string, color: string): Promise<LabelEntry[]>;
  changeLabel(name: string, change: LabelChange): Promise<LabelEntry[]>;
  deleteLabel(name: string, masks: LabelFate): Promise<LabelEntry[]>;
}

export type ImagePage = { images: ImageEntry[]; next: string | null };

/** Proposals that are stored, and others that a slider may still want. */
export type Everything = { records: SavedRecord[]; others: Draft[] };

/** What an import did: masks that are new, already there, or of images that are not here. */
export type Imported = Pick<ImportedBody, "new" | "same" | "strange" | "unread">;

/** What was found: new masks, how many were there already, and names without training images. */
export interface Finds {
  records: SavedRecord[];
  existing: number;
  untrained?: string[];
}

/** What is told where nobody answers. */
export const SILENT = "The server does not respond.";

/** A mask on its way; `name`: what the store calls the one that it replaces. */
export interface Saving {
  record: Draft;
  key: string;
  name?: { id: string; version: number };
}

/** Why a store did not do what it was asked. */
export class StoreError extends Error {
  /**
   * kind  "lost": nobody answered, ask again later; "busy": ask again after `retryAfter` seconds;
   *       "conflict": somebody else changed the record, `current` is theirs; "refused": do not ask
   *       the same again; "token": the server requires an access token, or another one;
   *       "unlabeled": masks of an export have no class
   */
  constructor(
    readonly kind: "lost" | "busy" | "conflict" | "refused" | "token" | "unlabeled",
    message: string,
    readonly retryAfter = 1,
    readonly current: SavedRecord | null = null,
  ) {
    super(message);
  }
}
