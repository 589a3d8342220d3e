/** What a bundle's manifest.json says: how the model sees an image, and what its graphs take. */

export interface Spec {
  name: string;
  image_side: number;
  mask_side: number;
  mean: [number, number, number];
  std: [number, number, number];
  fit: "longest_side" | "square";
  pad_multiple: number;
  resample: "pillow_bilinear" | "torch_bilinear" | "area";
  accepts: string[];
  family: string; // whose rules choose and order the masks: a name of `families`
  pad_point: boolean;
  pad_box?: boolean; // the same token follows a box (SAM 2)
  fixed_points: number;
  mask_threshold: number;
  channels?: { lows: number[] }; // of a model that was tuned on other images than images
}

interface TensorInfo {
  name: string;
  dtype: string;
  shape: (number | string)[];
}

export interface GraphInfo {
  file: string;
  inputs: TensorInfo[];
  outputs: TensorInfo[];
}

export interface Manifest {
  name: string;
  weights_hash: string;
  sha256: Record<string, string>;
  spec: Spec;
  graphs: {
    encoder: GraphInfo;
    decoder: GraphInfo;
    refiner?: GraphInfo; // of edges
    names?: GraphInfo; // of masks
  };
  grid: { pred_iou_thresh: number; stability_score_thresh: number };
  sent?: boolean; // the server alone has the encoder
  closer?: CropRefinement | null; // of a model that answers clear prompts better in a window
}

/** How an object is looked at again in a window of the image. */
export interface CropRefinement {
  margin: number; // around the object, of its longest side
  gain: number; // how much larger a window must show the object to be worth an encoding
  weight: number; // of the answer in the window in the mean of both answers' chances
  min_side: number; // pixels of the image that a window has at least
}

export type Part = keyof Manifest["graphs"];

/** What the model's family learned; a bundle without it learned nothing. */
export const TABLES = "tables.json";

/** The names that `names` knows, and their vectors. */
export const NAME_VECTORS = "names.npz";

/** The probe with which the main subject is found; only `nano` and `small` have one. */
export const SUBJECT = "subject.json";

/** The inputs of a decoder that say what the user meant; what stands before them are the maps. */
const PROMPT_INPUTS = ["coords", "labels", "masks", "has_mask"];

/** A reply as JSON; servers answer a page, too, where they have not got the file. */
export async function readJson(reply: Response): Promise<unknown> {
  const text = await reply.text();
  try {
    return JSON.parse(text);
  } catch {
    const got = JSON.stringify(text.trimStart().slice(0, 20));
    throw new Error(
      `The file at ${reply.url} must be the JSON manifest of an exported model, but starts with ` +
        `${got}. Check that the file exists: some servers return an HTML page for missing files.`,
    );
  }
}

/** The manifest, or an error that says what is wrong with it. */
export function readManifest(given: unknown): Manifest {
  const manifest = given as Manifest;
  const { spec, graphs } = manifest ?? {};
  const whole = graphs?.encoder && graphs.decoder && manifest.grid;
  if (!spec?.family || !whole || !(spec.image_side > 0) || !(spec.mask_side > 0)) {
    throw new Error(
      "manifest.json is invalid. It must contain spec, graphs and grid, as `anymask export` " +
        "writes them. Export the model again.",
    );
  }
  if (!manifest.sent && manifest.sha256?.["weights.safetensors"])
    throw new Error(
      `The weights of ${manifest.name} are a separate file, which browsers do not load. Use nano.`,
    );
  const names = graphs.decoder.inputs.map((tensor) => tensor.name);
  const missing = PROMPT_INPUTS.filter((name) => !names.includes(name));
  if (missing.length) {
    throw new Error(
      `The decoder of this model lacks the inputs ${missing.join(", ")}. It must ` +
        `accept ${PROMPT_INPUTS.join(", ")}. Export the model again.`,
    );
  }
  return manifest;
}

/** Refuse a model whose images have other channels than a browser reads. */
export function checkChannels({ name, spec }: Manifest): void {
  const count = spec.channels?.lows.length;
  if (count === undefined) return;
  throw new Error(
    `${name} was fine-tuned on images with ${count} channel${count > 1 ? "s" : ""}; ` +
      "a browser only reads red, green and blue. Use this model in Python or on the command line.",
  );
}
