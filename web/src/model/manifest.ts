/** What a bundle's manifest.json says: how the model sees a picture, and what its graphs take. */

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
  answer: "sam" | "sam_hq" | "four" | "all";
  pad_point: boolean;
  fixed_points: number;
  mask_threshold: number;
}

export interface TensorInfo {
  name: string;
  dtype: string;
  shape: (number | string)[];
}

export interface Manifest {
  name: string;
  weights_hash: string;
  sha256: Record<string, string>;
  spec: Spec;
  inputs: { encoder: TensorInfo[]; decoder: TensorInfo[] };
  outputs: { encoder: TensorInfo[]; decoder: TensorInfo[] };
}

/** The inputs of a decoder that say what the user meant; what stands before them are the maps. */
export const PROMPT_INPUTS = ["coords", "labels", "masks", "has_mask"];

/** The manifest, or an error that says what is wrong with it. */
export function readManifest(given: unknown): Manifest {
  const manifest = given as Manifest;
  const spec = manifest?.spec;
  if (!spec || !manifest.inputs?.decoder || !(spec.image_side > 0) || !(spec.mask_side > 0)) {
    throw new Error(
      "manifest.json must hold spec, inputs and outputs as `anymask export` writes them; " +
        "export the model again",
    );
  }
  const names = manifest.inputs.decoder.map((tensor) => tensor.name);
  const missing = PROMPT_INPUTS.filter((name) => !names.includes(name));
  if (missing.length) {
    throw new Error(
      `the decoder must take ${PROMPT_INPUTS.join(", ")}; this one lacks ${missing.join(", ")}; ` +
        "export the model again",
    );
  }
  return manifest;
}
