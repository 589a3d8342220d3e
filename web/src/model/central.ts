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

/** How deep a cell lies inside a mask, as a part of the mask's deepest place; 0 off it. */
export function clickDepth(
  plane: Float32Array,
  side: number,
  x: number,
  y: number,
  threshold: number,
): number {
  if (!(plane[y * side + x] > threshold)) return 0;
  const wide = side + 2 + 2 * RIM; // the photo's border counts as the mask's end
  const depth = new Float32Array(wide * wide).fill(1e6);
  const first = RIM + 1;
  for (let row = RIM; row < wide - RIM; row++) {
    for (let column = RIM; column < wide - RIM; column++) {
      const [v, u] = [row - first, column - first];
      const on = u >= 0 && v >= 0 && u < side && v < side && plane[v * side + u] > threshold;
      if (!on) depth[row * wide + column] = 0;
    }
  }
  const steps: [offset: number, cost: number][] = [
    [-1, AXIS],
    [-wide, AXIS],
    [-wide - 1, DIAGONAL],
    [-wide + 1, DIAGONAL],
    [-wide - 2, KNIGHT],
    [-wide + 2, KNIGHT],
    [-2 * wide - 1, KNIGHT],
    [-2 * wide + 1, KNIGHT],
  ];
  const relax = (at: number, sign: number) => {
    for (const [offset, cost] of steps) {
      const through = depth[at + sign * offset] + cost;
      if (through < depth[at]) depth[at] = through;
    }
  };
  const inside = (at: number) => depth[at] > 0;
  const [start, stop] = [first * wide + first, (first + side) * wide - first];
  for (let at = start; at < stop; at++) if (inside(at)) relax(at, 1);
  let deepest = 0;
  for (let at = stop - 1; at >= start; at--) {
    if (!inside(at)) continue;
    relax(at, -1);
    if (depth[at] < 1e6) deepest = Math.max(deepest, depth[at]);
  }
  return depth[(y + first) * wide + x + first] / deepest;
}
