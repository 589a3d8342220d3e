/**
 * Which of the decoder's T masks are the K answers (the rules of `runtimes/answers.py`).
 *
 * T mask tokens, K candidates, m the side of a low-resolution mask.
 */

import type { Spec } from "./manifest";

export interface Answer {
  logits: Float32Array; // (m, m)
  quality: number;
  token: number; // its place in the model's own order
}

const LIMIT = 12; // logits beyond it are as sure

/** The planes and qualities of one prompt -> its answers, in the model's own order. */
export function choose(
  spec: Spec,
  planes: Float32Array[],
  quality: Float32Array,
  multimask: boolean,
): Answer[] {
  const all = planes.map((logits, token) => ({ logits, quality: quality[token] ?? 0, token }));
  switch (spec.answer) {
    case "all":
      return all;
    case "sam_hq":
      return [corrected(all, multimask)];
    case "four":
      return multimask ? bestThree(all) : [agreed(all)];
    default:
      return multimask ? all.slice(1) : all.slice(0, 1);
  }
}

/** Best quality first; equal ones stay in their order. */
export function ranked(answers: Answer[]): Answer[] {
  return [...answers].sort((a, b) => b.quality - a.quality);
}

function bestThree(all: Answer[]): Answer[] {
  return ranked(all)
    .slice(0, 3)
    .sort((a, b) => a.token - b.token);
}

/** One mask of four: the mean of their probabilities, weighted by the squared quality. */
function agreed(all: Answer[]): Answer {
  const weights = all.map((answer) => answer.quality ** 2 + 1e-6);
  const sum = weights.reduce((a, b) => a + b, 0);
  const chance = new Float32Array(all[0].logits.length);
  all.forEach((answer, index) => {
    const weight = weights[index] / sum;
    for (let i = 0; i < chance.length; i++) {
      const logit = Math.min(LIMIT, Math.max(-LIMIT, answer.logits[i]));
      chance[i] += weight / (1 + Math.exp(-logit));
    }
  });
  const logits = chance.map((p) => Math.log(p) - Math.log1p(-p));
  return { logits, quality: Math.max(...all.map((answer) => answer.quality)), token: 0 };
}

/** SAM-HQ: the last mask is a correction of the first, or of the best of the others. */
function corrected(all: Answer[], multimask: boolean): Answer {
  const last = all[all.length - 1];
  const middle = all.slice(1, -1);
  const best = multimask ? ranked(middle)[0] : all[0];
  return { ...best, logits: best.logits.map((logit, i) => logit + last.logits[i]), token: 0 };
}
