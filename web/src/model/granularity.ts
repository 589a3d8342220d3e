/**
 * Part or whole: which of a click's candidates comes first (`order_by_granularity` of
 * `segment/pipeline.py`).
 */

import type { Answer } from "./families/family";
import { filledCells, type Geometry } from "./geometry";

/** "all": the model's own order; 0: the part ... 1: the whole. */
export type Granularity = "all" | number;

const COMPARABLE = 0.1; // of score: candidates so far below the best one are no choice

/** The size of an object, in the low-resolution mask's cells that are image. */
export function cells(plane: Float32Array, geometry: Geometry, threshold: number): number {
  const side = Math.sqrt(plane.length);
  const [rows, columns] = filledCells(geometry, side);
  let count = 0;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) if (plane[y * side + x] > threshold) count++;
  }
  return count;
}

/** The same answers, the one that the granularity means first, then by score. */
export function chosenFirst(
  answers: Answer[],
  granularity: Granularity,
  geometry: Geometry,
  threshold: number,
): Answer[] {
  if (granularity === "all" || answers.length < 2) return answers;
  const best = Math.max(...answers.map((answer) => answer.score));
  const least = Math.fround(best - Math.fround(COMPARABLE)); // in float32, as in Python
  const sizes = answers.map((answer) => cells(answer.logits, geometry, threshold));
  const choice = answers
    .map((_, i) => i)
    .filter((i) => answers[i].score >= least && sizes[i] > 0)
    .sort((a, b) => sizes[a] - sizes[b]);
  if (!choice.length) return answers;
  const first = choice[Math.floor(granularity * (choice.length - 1) + 0.5)];
  return [answers[first], ...answers.filter((_, i) => i !== first)];
}
