/**
 * Which of several masks to show first, when any of them may be meant (the rule of
 * `predictors/expected.py`): each is worth the IoU that it can be expected to have.
 */

import type { Answer } from "./answers";

const DOUBT = 0.1; // of quality: masks that differ by less may each be the one that is meant

/** The answers of one prompt, each with the quality that it may be expected to have. */
export function expectedQuality(answers: Answer[], threshold: number): Answer[] {
  const best = Math.max(...answers.map((answer) => answer.quality));
  if (!(best > 0)) return answers;
  const chances = answers.map((answer) => Math.exp((answer.quality - best) / DOUBT));
  const sum = chances.reduce((a, b) => a + b, 0);
  const overlaps = overlapsOf(answers, threshold);
  const expected = overlaps.map((row) =>
    row.reduce((so, overlap, j) => so + overlap * (chances[j] / sum) * answers[j].quality, 0),
  );
  const scale = best / Math.max(...expected, 1e-6);
  return answers.map((answer, i) => ({ ...answer, quality: expected[i] * scale }));
}

/** The IoU of every two masks; 1 of a mask with itself, also of an empty one. */
function overlapsOf(answers: Answer[], threshold: number): number[][] {
  const overlaps = answers.map(() => answers.map(() => 1));
  answers.forEach((one, i) => {
    for (let j = 0; j < i; j++) {
      overlaps[i][j] = overlaps[j][i] = iou(one.logits, answers[j].logits, threshold);
    }
  });
  return overlaps;
}

function iou(one: Float32Array, other: Float32Array, threshold: number): number {
  let both = 0;
  let either = 0;
  for (let i = 0; i < one.length; i++) {
    const a = one[i] > threshold ? 1 : 0;
    const b = other[i] > threshold ? 1 : 0;
    both += a & b;
    either += a | b;
  }
  return either ? both / either : 0;
}
