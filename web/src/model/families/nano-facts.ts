/**
 * What `nano`'s ranking knows of each mask of a lone click (`facts` of `masks/answer.py`), and
 * how deep the cells of a mask lie in it.
 *
 * T masks of the decoder, m the side of a low-resolution mask, F facts of each.
 */

import { CLEAR } from "../cleaning";
import { filledCells, type Geometry } from "../geometry";
import type { Spec } from "../manifest";
import { largestOf, regions, sizesOf } from "../regions";

const SURE = 1; // logits within it of the threshold are a doubt
const FARTHEST = 2; // of the distances between click and middle, in sides of a mask

// Steps of OpenCV's 5 x 5 mask: along an axis, diagonally, as a knight.
const [AXIS, DIAGONAL, KNIGHT] = [1, 1.4, 2.1969];
const RIM = 2; // cells around the grid, so that every step stays inside
const FIRST = RIM + 1;
const FAR = 1e6;

/** An image in a mask's cells, and one of them. */
interface Grid {
  side: number; // m
  height: number; // of the cells that the image fills
  width: number;
  x: number; // the click's cell
  y: number;
  threshold: number;
}

/** The image in a mask's cells, and a click's. */
export function gridOf([x, y]: ArrayLike<number> & Iterable<number>, place: Geometry, spec: Spec) {
  const side = spec.mask_side;
  const [height, width] = filledCells(place, side);
  const cell = (at: number, count: number) =>
    Math.trunc(Math.min(count - 1, Math.max(0, (at * side) / spec.image_side)));
  const threshold = spec.mask_threshold;
  return { side, height, width, x: cell(x, width), y: cell(y, height), threshold };
}

/** What is known of each mask, F numbers in the order of the weights, and the IoU of every two. */
export function factsOf(
  score: Float32Array,
  planes: Float32Array[],
  grid: Grid,
): { found: number[][]; shared: number[][] } {
  const both = commonCells(planes, grid);
  const found = planes.map((plane, token) => {
    const others = both[token].filter((_, other) => other !== token);
    const common = others.reduce((sum, cells) => sum + cells, 0);
    const within = common / (Math.max(both[token][token], 1) * others.length);
    const [doubt, ...shape] = shapeOf(plane, grid);
    const places = planes.map((_, other) => (other === token ? 1 : 0));
    return [score[token], ...shape, within, doubt, ...places];
  });
  return { found, shared: iouOfPairs(both) };
}

/** Cells in doubt for each cell of the outline, and the facts from the depth to the middle. */
function shapeOf(plane: Float32Array, grid: Grid): number[] {
  const { count, inner, outer, outline, box, sums } = countsOf(plane, grid);
  const area = Math.max(count, 1);
  const length = Math.sqrt(area);
  const { depth, deepest } = depthAt(plane, grid);
  const aside = Math.hypot(sums[0] / area - grid.x, sums[1] / area - grid.y);
  const logit = plane[grid.y * grid.side + grid.x] - grid.threshold;
  return [
    (outer - inner) / Math.max(outline, 1),
    depth / Math.max(deepest, 1),
    Math.log(area / (grid.height * grid.width)),
    inner / Math.max(outer, 1),
    1 / (1 + Math.exp(-logit)),
    Math.log((outline + 4) / length),
    count / box,
    deepest / length,
    Math.min(aside / length, FARTHEST),
  ];
}

interface Counts {
  count: number; // cells of the mask
  inner: number; // surely
  outer: number; // perhaps
  outline: number; // sides between a cell of the mask and one that is not
  box: number; // cells of its box, at least 1
  sums: [x: number, y: number]; // of its cells
}

function countsOf(plane: Float32Array, { side, height, width, threshold }: Grid): Counts {
  let [count, inner, outer, outline] = [0, 0, 0, 0];
  const sums: [number, number] = [0, 0];
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0, at = y * side; x < width; x++, at++) {
      const logit = plane[at] - threshold;
      const inside = logit > 0;
      if (logit > -SURE) outer++;
      if (logit > SURE) inner++;
      if (x && inside !== plane[at - 1] > threshold) outline++;
      if (y && inside !== plane[at - side] > threshold) outline++;
      if (!inside) continue;
      count++;
      sums[0] += x;
      sums[1] += y;
      [left, right] = [Math.min(left, x), Math.max(right, x)];
      [top, bottom] = [Math.min(top, y), y];
    }
  }
  const box = count ? (right - left + 1) * (bottom - top + 1) : 1;
  return { count, inner, outer, outline, box, sums };
}

/** The cells that every two masks share. */
export function commonCells(
  planes: Float32Array[],
  { side, height, width, threshold }: Omit<Grid, "x" | "y">,
): number[][] {
  const both = planes.map(() => planes.map(() => 0));
  const inside: number[] = [];
  for (let y = 0; y < height; y++) {
    for (let at = y * side; at < y * side + width; at++) {
      inside.length = 0;
      for (let n = 0; n < planes.length; n++) if (planes[n][at] > threshold) inside.push(n);
      for (const n of inside) for (const other of inside) both[n][other]++;
    }
  }
  return both;
}

/** The IoU of every two masks, of the cells that they share; 1 of each with itself. */
export function iouOfPairs(both: number[][]): number[][] {
  return both.map((row, i) =>
    row.map((n, j) => (i === j ? 1 : n / Math.max(both[i][i] + both[j][j] - n, 1))),
  );
}

// --- small parts

/**
 * A mask without the parts, connected along sides, that no clicked cell lies in and that are below
 * a share of the largest one. At least one part stays.
 */
export function withoutParts(
  plane: Float32Array,
  cells: readonly number[],
  least: number,
  { side, threshold }: Pick<Grid, "side" | "threshold">,
): Float32Array {
  const mask = Uint8Array.from(plane, (logit) => (logit > threshold ? 1 : 0));
  const parts = regions(mask, side, side, false);
  const sizes = sizesOf(parts);
  if (sizes.length <= 2) return plane; // the first is what is no mask
  const largest = largestOf(sizes);
  const stays = sizes.map((size) => (size >= least * sizes[largest] ? 1 : 0));
  for (const cell of cells) stays[parts[cell]] = 1;
  if (!stays.includes(1, 1)) stays[largest] = 1;
  return plane.map((logit, at) => (parts[at] && !stays[parts[at]] ? threshold - CLEAR : logit));
}

// --- depth

let room = new Float32Array(0); // kept, since every hover needs it for each of its masks

/** How far a cell (x, y) lies from a mask's edge, and the mask's deepest cell; 0 off the mask. */
function depthAt(plane: Float32Array, grid: Grid): { depth: number; deepest: number } {
  const { depth, wide, deepest } = measured(plane, grid.side, grid.threshold, grid);
  return { depth: depth[(grid.y + FIRST) * wide + grid.x + FIRST], deepest };
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
function measured(
  plane: Float32Array,
  side: number,
  threshold: number,
  filled = { height: side, width: side }, // by the image
): Depths {
  const wide = side + 2 + 2 * RIM; // the image's border counts as the mask's end
  const depth = begun(wide);
  const inside: number[] = [];
  for (let row = 0; row < filled.height; row++) {
    const to = (row + FIRST) * wide + FIRST;
    for (let column = 0, from = row * side; column < filled.width; column++, from++) {
      if (!(plane[from] > threshold)) continue;
      depth[to + column] = FAR;
      relax(depth, to + column, wide, 1);
      inside.push(to + column);
    }
  }
  let deepest = 0;
  for (let i = inside.length - 1; i >= 0; i--) {
    relax(depth, inside[i], wide, -1);
    deepest = Math.max(deepest, depth[inside[i]]);
  }
  return { depth, wide, deepest };
}

/** (wide, wide): far on the rim, 0 within it. */
function begun(wide: number): Float32Array {
  if (room.length !== wide * wide) room = new Float32Array(wide * wide);
  const depth = room.fill(FAR);
  for (let row = RIM; row < wide - RIM; row++) {
    depth.fill(0, row * wide + RIM, (row + 1) * wide - RIM);
  }
  return depth;
}

/** The shortest way to a cell through the neighbors before it (sign 1) or behind it (-1). */
function relax(depth: Float32Array, at: number, wide: number, sign: 1 | -1): void {
  const row = at - sign * wide;
  const far = row - sign * wide;
  const axis = Math.min(depth[at - sign], depth[row]) + AXIS;
  const diagonal = Math.min(depth[row - 1], depth[row + 1]) + DIAGONAL;
  const knight = Math.min(depth[row - 2], depth[row + 2], depth[far - 1], depth[far + 1]) + KNIGHT;
  depth[at] = Math.min(depth[at], axis, diagonal, knight);
}
