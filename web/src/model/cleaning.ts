/** Logits without small holes and islands (`clean_logits` of `masks/answer.py`). */

import { clamp, type Geometry } from "./geometry";
import { cellOf, pixelOf, type Click } from "./negative_clicks";
import { USUAL } from "./region_size";
import { largestOf, regions, sizesOf } from "./regions";

export const CLEAR = 2; // logits from the threshold that a filled or removed cell gets at least

/**
 * Without holes and islands below their shares of the mask (least areas in pixels are none of this
 * function's: `withoutCrumbs`); the same logits where there is nothing to do. The largest part
 * stays, and so do parts that a positive click touches and holes that a negative one touches; a
 * hole does not touch the border.
 */
export function cleaned(
  plane: Float32Array,
  clicks: readonly Click[],
  geometry: Geometry,
  threshold: number,
  { holes, islands } = USUAL,
): Float32Array {
  if (!holes.share && !islands.share) return plane;
  const side = Math.sqrt(plane.length);
  const [rows, columns] = geometry.inputHw.map((n) =>
    Math.min(side, Math.trunc(((n - 0.5) * side) / geometry.side - 0.5) + 2),
  );
  const mask = new Uint8Array(rows * columns);
  const fillMask = (source: Float32Array) => {
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        mask[y * columns + x] = source[y * side + x] > threshold ? 1 : 0;
      }
    }
  };
  fillMask(plane);
  const area = mask.reduce((sum, cell) => sum + cell, 0);
  const out = plane.slice();
  let changed = false;
  for (const [label, { share }] of [holes, islands].entries()) {
    fillMask(out);
    if (label === 0) mask.forEach((cell, i) => (mask[i] = 1 - cell));
    const places = clicks
      .filter((click) => click.label === label)
      .map((click) => cellOf(pixelOf(click, geometry), side, geometry));
    const reach = side / geometry.side;
    const gone = smallRegions(mask, [rows, columns], label, share * area, places, reach);
    gone.forEach((taken, i) => {
      if (!taken) return;
      const at = Math.floor(i / columns) * side + (i % columns);
      if (label === 0) out[at] = Math.max(out[at], threshold + CLEAR);
      else out[at] = Math.min(out[at], threshold - CLEAR);
      changed = true;
    });
  }
  return changed ? out : plane;
}

/** The islands (label 1) or holes (0) of less than an area; not the largest island. */
function smallRegions(
  mask: Uint8Array,
  [rows, columns]: [number, number],
  label: number,
  area: number,
  places: [number, number][], // row and column in cells
  reach: number,
): Uint8Array {
  const labels = regions(mask, rows, columns);
  const sizes = sizesOf(labels);
  const kept = new Uint8Array(sizes.length);
  kept[0] = 1;
  labels.forEach((one, i) => {
    const [y, x] = [Math.floor(i / columns), i % columns];
    const border = y === 0 || x === 0 || y === rows - 1 || x === columns - 1;
    if (label === 0 && border) kept[one] = 1;
  });
  if (label === 1) kept[largestOf(sizes)] = 1;
  for (const [row, column] of places) {
    for (let y = Math.floor(row - reach); y <= Math.floor(row + reach) + 1; y++) {
      for (let x = Math.floor(column - reach); x <= Math.floor(column + reach) + 1; x++) {
        kept[labels[clamp(y, 0, rows - 1) * columns + clamp(x, 0, columns - 1)]] = 1;
      }
    }
  }
  return new Uint8Array(mask.length).map((_, i) =>
    !kept[labels[i]] && sizes[labels[i]] < area ? 1 : 0,
  );
}
