/**
 * A box says where an object ends (the rules of `predictors/tight.py`): the threshold moves until
 * the mask fills the box, as long as that pays, and what lies off the box is taken away.
 */

import { scaleXy } from "./geometry";
import type { BoxXyxy, Geometry } from "./geometry";

const SHIFTS = [0, -0.5, 0.5, -1, 1, -1.5, 1.5, -2, -3]; // of the threshold, in logits
const PRICE = 0.1; // of a shift by one logit, as a part of the box that must be gained
const OFF = 2; // logits below the threshold, at least, off the box

/** Logits (m, m) that keep to a box, in image pixels, and fill it where they nearly do. */
export function fitToBox(
  logits: Float32Array,
  box: BoxXyxy,
  geometry: Geometry,
  threshold: number,
): Float32Array {
  const side = Math.sqrt(logits.length);
  const [scaleX, scaleY] = scaleXy(geometry);
  const cell = side / geometry.side;
  const columns = span(box[0] * scaleX * cell, box[2] * scaleX * cell, side);
  const rows = span(box[1] * scaleY * cell, box[3] * scaleY * cell, side);
  const extent = (rows[1] - rows[0]) * (columns[1] - columns[0]);
  const gains = SHIFTS.map((shift) => filled(logits, side, rows, columns, threshold + shift));
  if (gains[0] === 0) return logits; // nothing inside the box
  let best = 0;
  SHIFTS.forEach((shift, i) => {
    gains[i] = gains[i] / extent - PRICE * Math.abs(shift);
    if (gains[i] > gains[best]) best = i;
  });
  return logits.map((logit, i) => {
    const y = Math.floor(i / side);
    const x = i % side;
    const inside = y >= rows[0] && y < rows[1] && x >= columns[0] && x < columns[1];
    return inside ? logit - SHIFTS[best] : Math.min(logit, threshold) - OFF;
  });
}

/** First and one-past-last cell whose middle lies between two places, or the nearest one. */
function span(low: number, high: number, side: number): [number, number] {
  const first = Math.max(0, Math.ceil(Math.fround(low) - 0.5));
  const last = Math.min(side, Math.floor(Math.fround(high) - 0.5) + 1);
  if (last > first) return [first, last];
  const nearest = Math.min(Math.max(Math.trunc((low + high) / 2), 0), side - 1);
  return [nearest, nearest + 1];
}

/** The cells of the box around what exceeds a threshold. */
function filled(
  logits: Float32Array,
  side: number,
  rows: [number, number],
  columns: [number, number],
  threshold: number,
): number {
  let [left, right, top, bottom] = [side, -1, side, -1];
  for (let y = rows[0]; y < rows[1]; y++) {
    for (let x = columns[0]; x < columns[1]; x++) {
      if (logits[y * side + x] > threshold) {
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = y;
      }
    }
  }
  return right < 0 ? 0 : (bottom - top + 1) * (right - left + 1);
}
