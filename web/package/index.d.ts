/** The JavaScript API of anymask. Coordinates are (x, y) in pixels of the image. */

/** Load a model. Throws an Error if its files are missing or invalid. */
export declare function load(options?: LoadOptions): Promise<Anymask>;

export type XY = [x: number, y: number];
export type Box = [x0: number, y0: number, x1: number, y1: number];
export type Color = [red: number, green: number, blue: number, alpha: number]; // 0 to 255 each

/** A loaded image element, canvas, video element or bitmap, image data, an image file or its URL. */
export type ImageSource =
  | HTMLImageElement
  | HTMLCanvasElement
  | HTMLVideoElement
  | OffscreenCanvas
  | ImageBitmap
  | ImageData
  | Blob
  | URL
  | string;

export interface LoadOptions {
  /** URL of the folder of an exported model. Default: `nano`, which the package includes. */
  model?: string | URL;
}

/**
 * A prompt for one object: points, a box, or both. `small` and `nano` decode several points one
 * after the other, each with the mask of the previous step; other models decode them all at once.
 */
export interface Prompt {
  points?: readonly XY[];
  /** One label per point: 1 for foreground, 0 for background. Default: all foreground. */
  labels?: readonly (0 | 1)[];
  box?: Box;
  /**
   * The result of an earlier `segment` call on the same `Seen`. `points` must start with the points
   * of that call. Only the new points are decoded, to correct the mask with index `candidate`.
   */
  previous?: Answer;
  /** Index of the mask in `previous` to correct. Default: 0. */
  candidate?: number;
}

/** Minimum size of the holes and separate parts of a mask. */
export interface RegionSizes {
  /**
   * Holes smaller than this are filled: a share of the mask (0.05 or "5%"), a number of pixels (50),
   * 0 or false to fill none, or "auto" for 5 % of the mask. Holes with a background point stay.
   */
  maxHoleArea?: RegionSize;
  /**
   * Separate parts smaller than this are removed; same values as `maxHoleArea`. The largest part
   * and parts with a foreground point stay.
   */
  minIslandArea?: RegionSize;
}

export interface SegmentOptions extends RegionSizes {
  /** Which candidate mask comes first: "all" for the best one, 0 (smallest part) to 1 (whole). */
  granularity?: "all" | number;
  /**
   * Masks whose edges the refinement network moves to the edges in the image: "auto" for the first
   * mask, if the model has this network; true for every mask; false for none (faster).
   */
  refineEdges?: "auto" | boolean;
  /**
   * Whether to encode a crop around the first mask and predict again, for a box or several points:
   * "auto" if this improves the model's masks; false to never encode a crop.
   */
  zoom?: "auto" | false;
}

/** Called with the number of finished prompts and the number of all prompts. */
export type Progress = (done: number, all: number) => void;

/** Options of `everything`. Points of its grid do not protect holes or parts from removal. */
export interface EverythingOptions extends RegionSizes {
  progress?: Progress;
}

/** 1 or more: number of pixels; below 1, or with "%": share of the mask; 0 or false: off. */
export type RegionSize = number | string | false;

/** One connected region of a mask, with vertices along the edges of its pixels. */
export interface Outline {
  exterior: XY[];
  holes: XY[][];
}

export interface Mask {
  /** Size of the image in pixels. */
  readonly width: number;
  readonly height: number;
  /** Confidence score of the model; higher is better. */
  readonly score: number;
  /** Number of pixels in the mask. */
  readonly area: number;
  /** Bounding box; x1 and y1 are exclusive. Null for an empty mask. */
  readonly box: Box | null;
  /** Whether the mask contains the pixel (x, y). */
  has(x: number, y: number): boolean;
  /** Row-major array of height * width values: 1 in the mask, 0 elsewhere. */
  toArray(): Uint8Array;
  /** The mask in one color (default: white) on a transparent background. */
  toImageData(color?: Color): ImageData;
  /** Outlines of the regions, simplified by at most `tolerance` pixels (default: exact). */
  polygons(tolerance?: number): Outline[];
}

export interface Answer {
  /** Candidate masks, best first; at least one. */
  masks: Mask[];
  /** Indices of points that contradict another point at the same pixel. */
  violated: number[];
}

export interface NameOptions {
  /** Candidate names from the model's vocabulary. Default: all names that the model was trained on. */
  names?: readonly string[];
  /** Maximum number of suggestions. Default: 5. */
  top?: number;
}

export interface NameSuggestion {
  label: string;
  /** 0 to 1, relative to the candidate names and all names that the model was trained on. */
  probability: number;
}

export interface CutoutOptions {
  /** Crop the cut-out to the bounding box of the object. */
  crop?: boolean;
  /** Margin around the bounding box in pixels, with `crop`. */
  margin?: number;
  /** CSS color of the background, such as "white" or "#ff8800". Default: null (transparent). */
  background?: string | null;
  /** Whether edges fade over one pixel on each side (default: true) or are hard. */
  soft?: boolean;
}

/** Options for a cut-out that is saved as a file. */
export interface FileOptions extends CutoutOptions {
  /** Default: "image/png". "image/webp" is smaller; "image/jpeg" requires a background. */
  type?: "image/png" | "image/webp" | "image/jpeg";
  /** Quality of WebP and JPEG, 0 to 1. */
  quality?: number;
}

/** An encoded image. */
export interface Features {
  readonly width: number;
  readonly height: number;
  /** Predict masks for a prompt. Throws an Error for an invalid prompt or option. */
  segment(prompt: Prompt, options?: SegmentOptions): Promise<Answer>;
  /**
   * Segment all objects; masks are sorted by score, best first. A function instead of the options
   * is used as `progress`. Throws an Error for invalid options.
   */
  everything(options?: EverythingOptions | Progress): Promise<Mask[]>;
  /**
   * Segment the main subject without a prompt. Its score is the clarity of the subject, 0 to 1.
   * Returns null if the image has no clear subject. Throws an Error if the model has no
   * subject.json.
   */
  subject(): Promise<Mask | null>;
  /**
   * Suggest names for a mask of this image, most probable first; none for an empty mask. An array
   * must be row-major (height * width), with 0 outside the object. The first call downloads the
   * network for names. Throws an Error for an unknown name, with the closest known names.
   */
  suggestNames(mask: Mask | Uint8Array, options?: NameOptions): Promise<NameSuggestion[]>;
  /** Cut the object out, on a transparent or colored background. Throws for invalid options. */
  cutout(mask: Mask, options?: CutoutOptions): OffscreenCanvas;
  /** Cut the object out and encode it as an image file. */
  toBlob(mask: Mask, options?: FileOptions): Promise<Blob>;
}

export interface Anymask {
  /** Name of the model. */
  readonly name: string;
  /** Encode an image. Call it once per image, then send any number of prompts. */
  encode(image: ImageSource): Promise<Features>;
  /** Stop the workers. The model and its images cannot be used afterwards. */
  close(): void;
}
