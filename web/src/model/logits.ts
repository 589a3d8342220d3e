/** From low-resolution logits to a mask's window of the image, and back for a start mask. */

import { emptyPatch, type Patch } from "../masks/patch";
import { REACH, operatorsOf, reduced, taps } from "./geometry";
import type { AxisOperator, Geometry, Size } from "./geometry";
import { areaWeights } from "./resample";

const MASK_LOGIT = 6.9; // logit of 0.999: what a sure pixel of a given mask becomes

/** First and one-past-last pixel of an axis that a marked logit may reach. */
function reachOf(op: AxisOperator, marked: Uint8Array): [number, number] {
  const { start, weights } = op;
  const touches = (pixel: number) => {
    for (let i = 0; i < REACH; i++) {
      if (weights[pixel * REACH + i] && marked[start[pixel] + i]) return true;
    }
    return false;
  };
  let first = 0;
  let last = start.length;
  while (first < last && !touches(first)) first++;
  while (last > first && !touches(last - 1)) last--;
  return [first, last];
}

/** How a mask that was cut at several thresholds came out. */
interface Cut {
  patch: Patch;
  above: number[]; // pixels above each of the extra thresholds
}

/**
 * The pixels of the image (or of one whose longest side is `limit`) above the threshold.
 *
 * extra  further thresholds whose pixels are counted, none lower than extra's own lowest
 */
export function cutLogits(
  plane: Float32Array,
  geometry: Geometry,
  threshold: number,
  limit = 0,
  extra: number[] = [],
): Cut {
  const place = reduced(geometry, limit);
  const side = Math.sqrt(plane.length);
  const lowest = Math.min(threshold, ...extra);
  const [rowOp, columnOp] = operatorsOf(side, place);
  const rowMarks = new Uint8Array(side);
  const columnMarks = new Uint8Array(side);
  for (let i = 0; i < plane.length; i++) {
    if (plane[i] > lowest) rowMarks[Math.floor(i / side)] = columnMarks[i % side] = 1;
  }
  const [top, bottom] = reachOf(rowOp, rowMarks);
  const [left, right] = reachOf(columnOp, columnMarks);
  const above = extra.map(() => 0);
  if (bottom <= top || right <= left) return { patch: emptyPatch(place.imageHw), above };
  const [width, height] = [right - left, bottom - top];
  const data = new Uint8Array(width * height);
  const drawn = new Float32Array(right);
  const draw = rowsOf(plane, place, [left, right]);
  for (let y = top; y < bottom; y++) {
    draw(y, drawn);
    const row = (y - top) * width;
    for (let x = left; x < right; x++) {
      if (drawn[x] > threshold) data[row + x - left] = 1;
      for (let i = 0; i < extra.length; i++) if (drawn[x] > extra[i]) above[i]++;
    }
  }
  return { patch: { hw: place.imageHw, x: left, y: top, width, height, data }, above };
}

/** Draws one row of logits on the image, from the first to before the last column. */
export function rowsOf(
  plane: Float32Array,
  geometry: Geometry,
  [left, right]: [number, number],
): (y: number, out: Float32Array) => void {
  const side = Math.sqrt(plane.length);
  const [rowOp, { start, weights }] = operatorsOf(side, geometry);
  const line = new Float32Array(side);
  return (y, out) => {
    mixRows(plane, side, rowOp, y, line);
    for (let x = left; x < right; x++) {
      const at = start[x];
      const w = x * REACH;
      out[x] =
        weights[w] * line[at] + weights[w + 1] * line[at + 1] + weights[w + 2] * line[at + 2];
    }
  };
}

function mixRows(
  plane: Float32Array,
  side: number,
  op: AxisOperator,
  y: number,
  line: Float32Array,
): void {
  line.fill(0);
  for (let i = 0; i < REACH; i++) {
    const weight = op.weights[y * REACH + i];
    if (!weight) continue;
    const from = (op.start[y] + i) * side;
    for (let x = 0; x < side; x++) line[x] += weight * plane[from + x];
  }
}

/** A start mask as the decoder takes it: logits (m, m) over the whole S x S input. */
export function patchToModel(patch: Patch, geometry: Geometry, maskSide: number): Float32Array {
  const [down, across] = [0, 1].map((axis) =>
    cellShares(patch.hw[axis], geometry.inputHw[axis], maskSide / geometry.side),
  );
  const shares = sharesOf(patch, down, across, [maskSide, maskSide]);
  return shares.map((share) => {
    const p = Math.min(1 - 1e-6, Math.max(1e-6, share));
    return Math.min(MASK_LOGIT, Math.max(-MASK_LOGIT, Math.log(p / (1 - p))));
  });
}

/** The share of each of (h, w) cells over the image that a mask covers, 0 to 1. */
export function patchShares(patch: Patch, [height, width]: Size): Float32Array {
  const down = cellShares(patch.hw[0], height, 1);
  return sharesOf(patch, down, cellShares(patch.hw[1], width, 1), [height, width]);
}

type AxisShares = [cell: number, share: number][][]; // of each pixel along an axis

function sharesOf(patch: Patch, down: AxisShares, across: AxisShares, [height, width]: Size) {
  const shares = new Float32Array(height * width);
  const line = new Float32Array(width);
  for (let row = 0; row < patch.height; row++) {
    line.fill(0);
    for (let column = 0, at = row * patch.width; column < patch.width; column++, at++) {
      if (!patch.data[at]) continue;
      for (const [cell, share] of across[patch.x + column]) line[cell] += share;
    }
    for (const [cell, share] of down[patch.y + row]) {
      for (let x = 0; x < width; x++) shares[cell * width + x] += share * line[x];
    }
  }
  return shares;
}

/**
 * For each pixel along an axis the cells that it is a part of, and which part of each.
 *
 * filled  model pixels that `full` pixels become: bilinear where they grow, means where they shrink
 * cell    cells a model pixel
 */
function cellShares(full: number, filled: number, cell: number): AxisShares {
  const parts = Array.from({ length: full }, () => new Map<number, number>());
  const add = (pixel: number, model: number, share: number) => {
    const [start, end] = [model * cell, (model + 1) * cell];
    for (let at = Math.floor(start); at < end; at++) {
      const covered = Math.min(end, at + 1) - Math.max(start, at);
      parts[pixel].set(at, (parts[pixel].get(at) ?? 0) + share * covered);
    }
  };
  if (full < filled) {
    const { first, weight } = taps(full, filled);
    for (let model = 0; model < filled; model++) {
      add(first[model], model, 1 - weight[model]);
      add(Math.min(first[model] + 1, full - 1), model, weight[model]);
    }
  } else {
    const { first, values } = areaWeights(full, filled);
    values.forEach((shares, model) =>
      shares.forEach((share, i) => add(first[model] + i, model, share)),
    );
  }
  return parts.map((part) => [...part]);
}
