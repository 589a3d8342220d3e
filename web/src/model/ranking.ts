/**
 * Which of nano's masks of a lone click come first, when any of them may be meant (the rule of
 * `predictors/ranking.py`, with its weights): each is worth the overlap with the mask that is
 * meant, as it may be expected.
 *
 * T masks of the decoder, m the side of a low-resolution mask, F facts of each.
 */

import { depthAt } from "./central";
import type { Grid } from "./central";
import type { Geometry } from "./geometry";
import type { Spec } from "./manifest";
import weights from "../../../src/anymask/assets/ranking.json";

const SURE = 1; // logits within it of the threshold are a doubt
const FARTHEST = 2; // of the distances between click and middle, in sides of a mask

/** The same numbers, dealt so that the masks to show are those of the highest, best first. */
export function rankedQuality(
  quality: Float32Array,
  planes: Float32Array[],
  click: ArrayLike<number> & Iterable<number>,
  place: Geometry,
  spec: Spec,
): Float32Array {
  const { found, shared } = factsOf(quality, planes, click, place, spec);
  const numbers = [...quality].sort((a, b) => b - a);
  const dealt = new Float32Array(quality.length);
  orderOf(chances(found), shared).forEach((token, rank) => (dealt[token] = numbers[rank]));
  return dealt;
}

/** The masks, the one of the most worth first, the one that can be spared last. */
function orderOf(likely: number[], shared: number[][]): number[] {
  const worth = shared.map((row) => dot(row, likely));
  const first = worth.indexOf(Math.max(...worth));
  const loss = likely.map((chance, i) =>
    i === first ? Infinity : chance * (1 - Math.max(...shared[i].filter((_, j) => j !== i))),
  );
  const spared = loss.indexOf(Math.min(...loss));
  const rank = (n: number) => (n === first ? 0 : n === spared ? 2 : 1);
  return likely.map((_, n) => n).sort((a, b) => rank(a) - rank(b) || worth[b] - worth[a]);
}

/** How likely each mask is the one that is meant; they sum to 1. */
export function chances(found: number[][]): number[] {
  const mean = found[0].map((_, fact) => dot(found.map((row) => row[fact])) / found.length);
  const shift = weights.bias.map((bias, unit) => bias + dot(mean, column(weights.mean, unit)));
  const scores = found.map((row) => {
    const hidden = shift.map((from, unit) => Math.tanh(from + dot(row, column(weights.own, unit))));
    return dot(row, weights.direct) + dot(hidden, weights.out);
  });
  const most = Math.max(...scores);
  const chance = scores.map((score) => Math.exp(score - most));
  return chance.map((one) => one / dot(chance));
}

const column = (table: number[][], at: number) => table.map((row) => row[at]);

function dot(one: number[], other?: number[]): number {
  return one.reduce((sum, value, i) => sum + value * (other ? other[i] : 1), 0);
}

/** What is known of each mask, F numbers in the order of the weights, and the IoU of every two. */
export function factsOf(
  quality: Float32Array,
  planes: Float32Array[],
  [x, y]: ArrayLike<number> & Iterable<number>,
  { inputHw }: Geometry,
  spec: Spec,
): { found: number[][]; shared: number[][] } {
  const side = spec.mask_side;
  const [height, width] = inputHw.map((n) => Math.ceil((n * side) / spec.image_side));
  const cell = (at: number, count: number) =>
    Math.trunc(Math.min(count - 1, Math.max(0, (at * side) / spec.image_side)));
  const threshold = spec.mask_threshold;
  const grid = { side, height, width, x: cell(x, width), y: cell(y, height), threshold };
  const both = commonCells(planes, grid);
  const found = planes.map((plane, token) => {
    const others = both[token].filter((_, other) => other !== token);
    const within = dot(others) / (Math.max(both[token][token], 1) * others.length);
    const [doubt, ...shape] = shapeOf(plane, grid);
    const places = planes.map((_, other) => (other === token ? 1 : 0));
    return [quality[token], ...shape, within, doubt, ...places];
  });
  const shared = both.map((row, i) =>
    row.map((n, j) => (i === j ? 1 : n / Math.max(both[i][i] + both[j][j] - n, 1))),
  );
  return { found, shared };
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
function commonCells(planes: Float32Array[], { side, height, width, threshold }: Grid): number[][] {
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
