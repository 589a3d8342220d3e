/** What goes into the package and what comes out; places are (x, y) pixels of the photo. */

export type XY = [x: number, y: number];
export type Box = [x0: number, y0: number, x1: number, y1: number];
export type Colour = [red: number, green: number, blue: number, alpha: number]; // 0 to 255 each

/** Anything that shows a photo, its file, or its address. */
export type Photo =
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
  /** The folder of an exported model; without it `nano`, which lies beside the package. */
  model?: string | URL;
}

/**
 * One object: clicks, a box, or both. `small` and `nano` decode several clicks one after the other,
 * each with the mask of the step before; other models decode them at once.
 */
export interface Prompt {
  points?: readonly XY[];
  /** 1 on the object, 0 off it; one for each point, 1 where there are none. */
  labels?: readonly (0 | 1)[];
  box?: Box;
  /**
   * The answer of the same `seen` for the first of these points. Only the new points are decoded,
   * to correct its mask `candidate`.
   */
  previous?: Answer;
  /** Which of the masks of `previous` is corrected; 0 without it. */
  candidate?: number;
}

/** How small the holes and parts of a mask may be. */
export interface RegionSizes {
  /**
   * Enclosed holes of less are filled: a share of the mask (0.05, "5%"), pixels of the photo (50),
   * 0 or false for none; "auto": 5 % of the mask. A hole with a click of label 0 stays.
   */
  maxHoleArea?: RegionSize;
  /**
   * Parts of less are removed, in the same units; the largest part stays, and those with a click of
   * label 1.
   */
  minIslandArea?: RegionSize;
}

export interface SegmentOptions extends RegionSizes {
  /** Of a click's candidates, the first: "all" the best one, 0 the smallest part, 1 the whole. */
  granularity?: "all" | number;
  /**
   * Edges where the photo has them, by the network that a model may have for that: "auto": of the
   * first mask, where the model has one; true: of every mask; false: of none, as for a hover.
   */
  refineEdges?: "auto" | boolean;
  /**
   * A closer look at what a box, or more than one click, means: "auto": once more in a window
   * around the first answer, where the model gains by it, which costs an encoding; false: never.
   */
  zoom?: "auto" | false;
}

/** Told the clicks that are done, and all. */
export type Progress = (done: number, all: number) => void;

/** Clicks of a grid are nobody's: they keep no hole and no part. */
export interface EverythingOptions extends RegionSizes {
  progress?: Progress;
}

/** From 1 on pixels of the photo, below 1 (or with "%") a share of the mask; 0 or false: none. */
export type RegionSize = number | string | false;

/** One region of a mask: corners along its pixels' edges. */
export interface Outline {
  exterior: XY[];
  holes: XY[][];
}

export interface Mask {
  /** Of the photo. */
  readonly width: number;
  readonly height: number;
  /** What the model thinks of it; larger is better. */
  readonly score: number;
  /** Pixels of the object. */
  readonly area: number;
  /** The smallest box around it; x1 and y1 lie behind its last pixels. Null where it is empty. */
  readonly box: Box | null;
  /** Whether a pixel is in it. */
  has(x: number, y: number): boolean;
  /** (height, width), row by row, 1 in the object and 0 elsewhere. */
  toArray(): Uint8Array;
  /** The object in a color, white without one, on nothing. */
  toImageData(colour?: Colour): ImageData;
  /** Its regions along the pixels, or smooth: `tolerance` pixels by which an outline may move. */
  polygons(tolerance?: number): Outline[];
}

export interface Answer {
  /** Best first, at least one. */
  masks: Mask[];
  /** Indices of the points that another one on the same pixel contradicts. */
  violated: number[];
}

export interface NameOptions {
  /** To choose from: of those that the model knows. Without it all that it learned from pictures. */
  names?: readonly string[];
  /** Names of the answer, 5 without it. */
  top?: number;
}

export interface NameSuggestion {
  label: string;
  /** 0 to 1, among the names to choose from and all learned ones. */
  probability: number;
}

export interface CutoutOptions {
  /** Only the object's box, not the whole photo. */
  crop?: boolean;
  /** Pixels around the box, where there is `crop`. */
  margin?: number;
  /** What lies behind the object, as a color of CSS ("white", "#ff8800"); null: nothing. */
  background?: string | null;
  /** An edge that fades over a pixel on each side, true without it; false: a hard one. */
  soft?: boolean;
}

/** How a cut-out becomes a file. */
export interface FileOptions extends CutoutOptions {
  /** "image/png" without it; "image/webp" is smaller, "image/jpeg" wants a background. */
  type?: "image/png" | "image/webp" | "image/jpeg";
  /** 0 to 1, of WebP and JPEG. */
  quality?: number;
}

/** A photo that the model has seen. */
export interface Seen {
  readonly width: number;
  readonly height: number;
  /** Answer a prompt. Throws an Error that says what was wanted. */
  segment(prompt: Prompt, options?: SegmentOptions): Promise<Answer>;
  /**
   * The masks of everything, best first. A function in place of the options is their `progress`.
   * Throws an Error that says what was wanted.
   */
  everything(options?: EverythingOptions | Progress): Promise<Mask[]>;
  /**
   * What a mask of this photo may be called, the likeliest first; nothing for an empty mask. An
   * array is (height, width), row by row, 0 off the object. The first call fetches the network of
   * names. Throws an Error for a name that the model does not know, with the nearest that it does.
   */
  suggestNames(mask: Mask | Uint8Array, options?: NameOptions): Promise<NameSuggestion[]>;
  /** The object of a mask on nothing or on a color. Throws an Error that says what was wanted. */
  cutout(mask: Mask, options?: CutoutOptions): OffscreenCanvas;
  /** The same as a file, to be sent or saved. */
  toBlob(mask: Mask, options?: FileOptions): Promise<Blob>;
}

export interface Anymask {
  /** Of the model. */
  readonly name: string;
  /** Look at a photo, once for all its prompts. */
  see(photo: Photo): Promise<Seen>;
  /** End the workers; nothing can be asked afterwards. */
  close(): void;
}
