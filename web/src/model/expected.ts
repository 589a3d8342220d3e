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
  const expected = answers.map((one) =>
    answers.reduce(
      (so, other, j) => so + overlap(one, other, threshold) * (chances[j] / sum) * other.quality,
      0,
    ),
  );
  const scale = best / Math.max(...expected, 1e-6);
  return answers.map((answer, i) => ({ ...answer, quality: expected[i] * scale }));
}

/** The IoU of two masks; 1 for a mask with itself, also an empty one. */
export function overlap(one: Answer, other: Answer, threshold: number): number {
  if (one === other) return 1;
  let [both, either] = [0, 0];
  for (let i = 0; i < one.logits.length; i++) {
    const [a, b] = [one.logits[i] > threshold, other.logits[i] > threshold];
    if (a && b) both++;
    if (a || b) either++;
  }
  return either ? both / either : 0;
}
