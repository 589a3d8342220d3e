/** One prompt -> candidates in the photo, as `predictors/pipeline.py` answers it. */

import type { Patch } from "../masks/patch";
import type { Answer, Decode, Family } from "./families/family";
import { cleaned } from "./cleaning";
import type { Geometry } from "./geometry";
import { cells, chosenFirst } from "./granularity";
import type { Granularity } from "./granularity";
import { obeyNegatives, violated } from "./negative_clicks";
import { cutLogits } from "./logits";
import type { Spec } from "./manifest";
import { tokensOf } from "./prompts";
import type { Prompt } from "./prompts";

export interface Candidate {
  patch: Patch;
  quality: number; // this mask's own number: the first one is not always the largest
  cells: number; // its size in low-resolution cells: a part has fewer than the whole
}

/** A mask as it is kept: after a closer look, its edge where the photo has it. */
export interface Fine {
  patch: Patch;
  quality: number;
  violated: number[];
}

export interface Candidates {
  candidates: Candidate[];
  violated: number[]; // indices of the clicks that the first candidate does not obey
}

/** A model, ready to be asked about one photo. */
export interface Asked {
  family: Family;
  decode: Decode;
  geometry: Geometry;
  spec: Spec;
}

/** An answer as it will be shown. */
export interface Shown extends Answer {
  own: Float32Array; // (m, m) the logits with small holes and islands
}

/**
 * The answers to one prompt, the first one first; logits as they will be shown.
 *
 * change  what becomes of the family's logits before all else
 */
export async function answersTo(
  prompt: Prompt,
  { family, decode, geometry, spec }: Asked,
  granularity: Granularity,
  change: (logits: Float32Array) => Float32Array = (logits) => logits,
): Promise<Shown[]> {
  const threshold = spec.mask_threshold;
  const ordered = await family.answer(decode, tokensOf(prompt, geometry, spec), geometry);
  return chosenFirst(ordered, granularity, geometry, threshold).map((answer) => {
    const own = obeyNegatives(change(answer.logits), prompt.clicks, geometry, threshold);
    return { ...answer, own, logits: cleaned(own, prompt.clicks, geometry, threshold) };
  });
}

/** Their masks, at most `limit` pixels a side (0: the photo's own). */
export function shown(
  answers: Answer[],
  prompt: Prompt,
  geometry: Geometry,
  threshold: number,
  limit: number,
): Candidates {
  return {
    candidates: answers.map((answer) => ({
      patch: cutLogits(answer.logits, geometry, threshold, limit).patch,
      quality: answer.quality,
      cells: cells(answer.logits, geometry, threshold),
    })),
    violated: violated(answers[0].logits, prompt.clicks, geometry, threshold),
  };
}
