/** One decoded prompt -> candidates in the photo, as `predictors/decoding.py` answers them. */

import type { Patch } from "../masks/patch";
import { choose, ranked } from "./answers";
import type { Answer } from "./answers";
import type { Geometry } from "./geometry";
import { cells, chosenFirst } from "./granularity";
import type { Granularity } from "./granularity";
import { honourNegatives, violated } from "./honour";
import { cutLogits } from "./logits";
import type { Spec } from "./manifest";
import { isLoneClick, tokensOf } from "./prompts";
import type { Prompt } from "./prompts";
import { rankedQuality } from "./ranking";
import { fitToBox } from "./tight";

export interface Candidate {
  patch: Patch;
  quality: number;
  cells: number; // its size in low-resolution cells: a part has fewer than the whole
}

export interface Candidates {
  candidates: Candidate[];
  violated: number[]; // indices of the clicks that the first candidate does not honour
}

/** The answers to one prompt, the first one first; logits as they will be shown. */
export function answersTo(
  prompt: Prompt,
  planes: Float32Array[],
  quality: Float32Array,
  geometry: Geometry,
  spec: Spec,
  granularity: Granularity,
): Answer[] {
  const threshold = spec.mask_threshold;
  const lone = isLoneClick(prompt);
  let numbers = quality;
  if (lone && spec.answer === "four") {
    const { coords } = tokensOf(prompt, geometry, spec);
    numbers = rankedQuality(quality, planes, coords, geometry, spec);
  }
  let kept = choose(spec, planes, numbers, lone);
  if (prompt.box && spec.answer === "four") {
    const box = prompt.box;
    kept = kept.map((answer) => ({
      ...answer,
      logits: fitToBox(answer.logits, box, geometry, threshold),
    }));
  }
  const first = chosenFirst(ranked(kept), granularity, geometry, threshold);
  return first.map((answer) => ({
    ...answer,
    logits: honourNegatives(answer.logits, prompt.clicks, geometry, threshold),
  }));
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
