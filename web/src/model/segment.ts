/** One prompt -> candidates in the image, as `segment/pipeline.py` answers it. */

import type { Patch } from "../masks/patch";
import type { Answer, Decode, Family } from "./families/family";
import { cleaned } from "./cleaning";
import { withoutCrumbs } from "./crumbs";
import type { Geometry } from "./geometry";
import { cells, chosenFirst, type Granularity } from "./granularity";
import { contradicted, heldTo, keepPrevious, obeyNegatives } from "./negative_clicks";
import { cutLogits } from "./logits";
import type { Spec } from "./manifest";
import { tokensOf, type Prompt } from "./prompts";
import type { LeastAreas } from "./region_size";
import { addsNegatives, clickSteps } from "./steps";

export interface Candidate {
  patch: Patch;
  score: number; // descending, unless the granularity puts another mask first
  cells: number; // its size in low-resolution cells: a part has fewer than the whole
}

/** A mask as it is kept: after a closer look, its edge where the image has it. */
export interface Fine {
  patch: Patch;
  score: number;
  violated: number[];
}

/** An answer, with what a further click corrects. */
export interface Corrected extends Candidates {
  logits: Float32Array[]; // (m, m) of each candidate
}

export interface Candidates {
  candidates: Candidate[];
  violated: number[]; // indices of the clicks that another one contradicts
}

/** How a prompt is answered. */
export interface Settings {
  granularity: Granularity;
  least: LeastAreas;
}

/** An image as a model sees it. */
interface ModelContext {
  geometry: Geometry;
  spec: Spec;
}

/** A model, ready to be asked about one image. */
export interface Decoding extends ModelContext {
  family: Family;
  decode: Decode;
}

/** An answer as it will be shown. */
export interface Shown extends Answer {
  own: Float32Array; // (m, m) the logits with small holes and islands
}

/**
 * The answers to one prompt, the first one first; logits as they will be shown.
 *
 * A family that has learned to correct its own masks gets the clicks one by one, each with the
 * logits of the step before; any other gets all that are new at once (`segment/pipeline.py`).
 */
export async function answersTo(
  prompt: Prompt,
  asked: Decoding,
  settings: Settings,
): Promise<Shown[]> {
  const { clicks, box, mask, previous } = prompt;
  const labels = clicks.map(({ label }) => label);
  const steps = asked.family.stepwise
    ? clickSteps(labels, previous?.clicks ?? 0, mask || previous ? "mask" : box ? "box" : "click")
    : [labels.map((_, place) => place)];
  let logits = previous?.logits ?? null;
  let before = labels.slice(0, previous?.clicks ?? 0).map((_, place) => place);
  let answers: Shown[] = [];
  for (const step of steps) {
    const part = { ...prompt, clicks: step.map((place) => clicks[place]) };
    answers = await decodedOnce(part, asked, settings, logits);
    if (logits && asked.family.stepwise && addsNegatives(labels, step, before))
      answers[0] = kept(answers[0], logits, part, asked, settings);
    [logits, before] = [answers[0].own, step];
  }
  return answers;
}

/** An answer, or the mask before it, if clicks on the background changed that a lot. */
function kept(
  answer: Shown,
  before: Float32Array,
  { clicks }: Prompt,
  { geometry, spec: { mask_threshold: threshold } }: Decoding,
  { least }: Settings,
): Shown {
  const own = keepPrevious(answer.own, before, clicks, geometry, threshold);
  if (own === answer.own) return answer;
  return { ...answer, own, logits: cleaned(own, clicks, geometry, threshold, least) };
}

/**
 * The answers of one decoding.
 *
 * before  (m, m) logits that the prompt corrects, or null
 * change  what becomes of the family's logits before all else
 */
export async function decodedOnce(
  prompt: Prompt,
  { family, decode, geometry, spec }: Decoding,
  { granularity, least }: Settings,
  before: Float32Array | null = null,
  change: (logits: Float32Array) => Float32Array = (logits) => logits,
): Promise<Shown[]> {
  const threshold = spec.mask_threshold;
  const tokens = tokensOf(prompt, geometry, spec, before);
  const ordered = await family.answer(decode, tokens, geometry);
  return chosenFirst(ordered, granularity, geometry, threshold).map((answer) => {
    const own = obeyNegatives(change(answer.logits), prompt.clicks, geometry, threshold);
    return { ...answer, own, logits: cleaned(own, prompt.clicks, geometry, threshold, least) };
  });
}

/** Their masks, at most `limit` pixels a side (0: the image's own). */
export function shown(
  answers: Answer[],
  prompt: Prompt,
  { geometry, spec }: ModelContext,
  least: LeastAreas,
  limit: number,
): Candidates {
  const threshold = spec.mask_threshold;
  const patches = answers.map(({ logits }) => {
    const { patch } = cutLogits(logits, geometry, threshold, limit);
    return heldTo(tidied(patch, prompt, least), prompt.clicks, geometry);
  });
  return {
    candidates: answers.map((answer, i) => ({
      patch: patches[i],
      score: answer.score,
      cells: cells(answer.logits, geometry, threshold),
    })),
    violated: contradicted(prompt.clicks, geometry),
  };
}

/** Whether a least area is one in pixels, which are counted when a mask has been drawn. */
const inPixels = ({ holes, islands }: LeastAreas) => holes.pixels + islands.pixels > 0;

/** A drawn mask without holes and islands of fewer pixels; shares were counted in its cells. */
export function tidied(patch: Patch, { clicks }: Prompt, { holes, islands }: LeastAreas): Patch {
  if (!inPixels({ holes, islands })) return patch;
  const least = { holes: { ...holes, share: 0 }, islands: { ...islands, share: 0 } };
  return withoutCrumbs(patch, clicks, least);
}
