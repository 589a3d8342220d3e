/**
 * People click the middle of what they mean (the rule of `predictors/central.py`): a mask loses
 * quality as the lone click comes near its edge.
 */

import type { Spec } from "./manifest";

const EDGE_COST = 0.4; // of quality, for a click on the very edge of a mask

/** The quality of the masks of one lone click, which lies at (x, y) in model pixels. */
export function centralQuality(
  quality: Float32Array,
  planes: Float32Array[],
  [x, y]: ArrayLike<number> & Iterable<number>,
  spec: Spec,
): Float32Array {
  const side = spec.mask_side;
  const cell = (place: number) =>
    Math.trunc(Math.min(side - 1, Math.max(0, (place * side) / spec.image_side)));
  return quality.map((own, token) => {
    const depth = clickDepth(planes[token], side, cell(x), cell(y), spec.mask_threshold);
    return Math.max(0, own - EDGE_COST * (1 - depth));
  });
}

// Steps of OpenCV's 5 x 5 mask: along an axis, diagonally, as a knight.
const [AXIS, DIAGONAL, KNIGHT] = [1, 1.4, 2.1969];
const RIM = 2; // cells around the grid, so that every step stays inside
const FIRST = RIM + 1;
const FAR = 1e6;

let room = new Float32Array(0); // kept, since every hover needs it for each of its masks

/** How deep a cell lies inside a mask, as a part of the mask's deepest place; 0 off it. */
export function clickDepth(
  plane: Float32Array,
  side: number,
  x: number,
  y: number,
  threshold: number,
): number {
  if (!(plane[y * side + x] > threshold)) return 0;
  const { depth, wide, deepest } = measured(plane, side, threshold);
  return depth[(y + FIRST) * wide + x + FIRST] / deepest;
}

/** Where a mask is thickest, x and y in cells, the first such cell; null where it is empty. */
export function deepestCell(
  plane: Float32Array,
  side: number,
  threshold: number,
): [x: number, y: number] | null {
  const { depth, wide } = measured(plane, side, threshold);
  let best: [number, number] | null = null;
  let most = 0;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const rounded = Math.round(depth[(y + FIRST) * wide + x + FIRST] * 1000); // ties as in Python
      if (rounded > most) [most, best] = [rounded, [x, y]];
    }
  }
  return best;
}

interface Depths {
  depth: Float32Array; // (wide, wide), overwritten by the next call
  wide: number;
  deepest: number;
}

/** How far each cell lies from the mask's edge; the grid begins at (FIRST, FIRST). */
function measured(plane: Float32Array, side: number, threshold: number): Depths {
  const wide = side + 2 + 2 * RIM; // the photo's border counts as the mask's end
  const depth = begun(plane, side, wide, threshold);
  const [start, stop] = [FIRST * wide + FIRST, (FIRST + side) * wide - FIRST];
  for (let at = start; at < stop; at++) if (depth[at] > 0) relax(depth, at, wide, 1);
  let deepest = 0;
  for (let at = stop - 1; at >= start; at--) {
    if (!(depth[at] > 0)) continue;
    relax(depth, at, wide, -1);
    if (depth[at] < FAR) deepest = Math.max(deepest, depth[at]);
  }
  return { depth, wide, deepest };
}

/** (wide, wide): far inside the mask and on the rim, 0 off the mask. */
function begun(plane: Float32Array, side: number, wide: number, threshold: number): Float32Array {
  if (room.length !== wide * wide) room = new Float32Array(wide * wide);
  const depth = room.fill(FAR);
  for (let row = RIM; row < wide - RIM; row++) {
    depth.fill(0, row * wide + RIM, (row + 1) * wide - RIM);
  }
  for (let row = 0; row < side; row++) {
    const to = (row + RIM + 1) * wide + RIM + 1;
    for (let column = 0, from = row * side; column < side; column++, from++) {
      if (plane[from] > threshold) depth[to + column] = FAR;
    }
  }
  return depth;
}

/** The shortest way to a cell through the neighbours before it (sign 1) or behind it (-1). */
function relax(depth: Float32Array, at: number, wide: number, sign: 1 | -1): void {
  const row = at - sign * wide;
  const far = row - sign * wide;
  const axis = Math.min(depth[at - sign], depth[row]) + AXIS;
  const diagonal = Math.min(depth[row - 1], depth[row + 1]) + DIAGONAL;
  const knight = Math.min(depth[row - 2], depth[row + 2], depth[far - 1], depth[far + 1]) + KNIGHT;
  depth[at] = Math.min(depth[at], axis, diagonal, knight);
}
