/**
 * Logits and clicks in; logits that obey the negative clicks out (`obey_negatives` of
 * `masks/answer.py`), and masks whose clicked pixels are as the clicks say.
 */

import { grown, patchHas, type Patch } from "../masks/patch";
import { REACH, clamp, filledCells, operatorsOf } from "./geometry";
import type { AxisOperator, Geometry, XY } from "./geometry";
import { regions } from "./regions";

export interface Click {
  x: number;
  y: number;
  label: 0 | 1;
}

const CLEARED = 2; // logits below the threshold that a cleared cell gets at least
const SIMILAR = 0.8; // minimum IoU with the previous mask after a negative click outside it
const DISC = 0.1; // of the root of the region's area: how far a disc reaches at most

export function pixelOf(click: Click, geometry: Geometry): XY {
  const [height, width] = geometry.imageHw;
  return [clamp(Math.floor(click.x), 0, width - 1), clamp(Math.floor(click.y), 0, height - 1)];
}

function logitAt(plane: Float32Array, side: number, ops: AxisOperator[], [x, y]: XY): number {
  const [rows, columns] = ops;
  let sum = 0;
  for (let i = 0; i < REACH; i++) {
    const wy = rows.weights[y * REACH + i];
    if (!wy) continue;
    const line = (rows.start[y] + i) * side + columns.start[x];
    for (let j = 0; j < REACH; j++) {
      const wx = columns.weights[x * REACH + j];
      if (wx) sum += wy * wx * plane[line + j];
    }
  }
  return sum;
}

/** Indices of the clicks that a negative one on the same pixel contradicts. */
export function contradicted(clicks: readonly Click[], geometry: Geometry): number[] {
  const names = clicks.map((click) => String(pixelOf(click, geometry)));
  const off = new Set(names.filter((_, i) => clicks[i].label === 0));
  return clicks.flatMap(({ label }, i) => (label === 1 && off.has(names[i]) ? [i] : []));
}

/**
 * A mask of the image's own size in which every clicked pixel is as the click says
 * (`apply_clicks` of `segment/prediction.py`). Smaller ones, which are shown for a moment, stay.
 */
export function heldTo(patch: Patch, clicks: readonly Click[], geometry: Geometry): Patch {
  const [height, width] = geometry.imageHw;
  if (patch.hw[0] !== height || patch.hw[1] !== width) return patch;
  const sorted = [...clicks].sort((a, b) => b.label - a.label); // negative ones last: they count
  const pixels = sorted.map((click) => ({ at: pixelOf(click, geometry), label: click.label }));
  if (pixels.every(({ at, label }) => patchHas(patch, ...at) === (label === 1))) return patch;
  let held: Patch = { ...patch, data: patch.data.slice() };
  for (const { at, label } of pixels) {
    const [x, y] = at;
    if (label === 1) held = grown(held, x, y, x + 1, y + 1);
    const inside = x >= held.x && x < held.x + held.width;
    if (inside && y >= held.y && y < held.y + held.height)
      held.data[(y - held.y) * held.width + x - held.x] = label;
  }
  return held;
}

/** The same logits, cleared around the negative clicks that they do not obey. */
export function obeyNegatives(
  plane: Float32Array,
  clicks: readonly Click[],
  geometry: Geometry,
  threshold: number,
): Float32Array {
  if (clicks.every((click) => click.label === 1)) return plane;
  const side = Math.sqrt(plane.length);
  const ops = operatorsOf(side, geometry);
  const positive = clicks
    .filter((click) => click.label === 1)
    .map((click) => cellOf(pixelOf(click, geometry), side, geometry));
  const cleared = plane.slice();
  for (const click of clicks) {
    if (click.label === 1) continue;
    const pixel = pixelOf(click, geometry);
    const around = pixelsAround(pixel, geometry);
    if (!around.some((place) => logitAt(cleared, side, ops, place) > threshold)) continue;
    const touched = cellsTouched(pixel, side, ops, geometry);
    const center = cellOf(pixel, side, geometry);
    const part = partToClear(cleared, side, threshold, touched, center, positive);
    part.forEach((taken, i) => {
      if (taken) cleared[i] = Math.min(cleared[i], threshold - CLEARED);
    });
  }
  return cleared;
}

/**
 * The logits of the previous mask, if clicks on its background changed it a lot, else the new ones
 * (`keep_previous` of `masks/answer.py`).
 */
export function keepPrevious(
  plane: Float32Array,
  previous: Float32Array,
  clicks: readonly Click[],
  geometry: Geometry,
  threshold: number,
): Float32Array {
  const obeyed = obeyNegatives(previous, clicks, geometry, threshold);
  if (obeyed.some((logit, i) => logit !== previous[i])) return plane;
  const side = Math.sqrt(plane.length);
  const [rows, columns] = filledCells(geometry, side);
  let both = 0;
  let either = 0;
  for (let y = 0; y < rows; y++) {
    for (let i = y * side; i < y * side + columns; i++) {
      const [now, before] = [plane[i] > threshold, previous[i] > threshold];
      both += Number(now && before);
      either += Number(now || before);
    }
  }
  return both / Math.max(either, 1) < SIMILAR ? previous : plane;
}

function pixelsAround([x, y]: XY, geometry: Geometry): XY[] {
  const [height, width] = geometry.imageHw;
  const steps = [-1, 0, 1];
  return steps.flatMap((dy) =>
    steps.map((dx): XY => [clamp(x + dx, 0, width - 1), clamp(y + dy, 0, height - 1)]),
  );
}

/** A pixel as a low-resolution place (row, column), cell centers at whole numbers. */
export function cellOf([x, y]: XY, side: number, geometry: Geometry): [number, number] {
  const scale = (axis: 0 | 1) =>
    ((geometry.inputHw[axis] / geometry.imageHw[axis]) * side) / geometry.side;
  return [(y + 0.5) * scale(0) - 0.5, (x + 0.5) * scale(1) - 0.5];
}

/** The cells (m, m) that the pixel and its eight neighbors are made of. */
function cellsTouched(
  pixel: XY,
  side: number,
  ops: AxisOperator[],
  geometry: Geometry,
): Uint8Array {
  const marks = [new Uint8Array(side), new Uint8Array(side)];
  for (const place of pixelsAround(pixel, geometry)) {
    [place[1], place[0]].forEach((at, axis) => {
      for (let i = 0; i < REACH; i++) {
        if (ops[axis].weights[at * REACH + i]) marks[axis][ops[axis].start[at] + i] = 1;
      }
    });
  }
  const touched = new Uint8Array(side * side);
  for (let i = 0; i < touched.length; i++) {
    touched[i] = marks[0][Math.floor(i / side)] & marks[1][i % side];
  }
  return touched;
}

/** The cells that a violated negative click takes back. */
function partToClear(
  plane: Float32Array,
  side: number,
  threshold: number,
  touched: Uint8Array,
  center: [number, number],
  positive: [number, number][],
): Uint8Array {
  const mask = Uint8Array.from(plane, (logit) => (logit > threshold ? 1 : 0));
  const labels = regions(mask, side, side);
  const hit = new Set<number>();
  touched.forEach((isTouched, i) => {
    if (isTouched && labels[i]) hit.add(labels[i]);
  });
  const clicked = positive.map(
    ([row, column]) =>
      clamp(Math.round(row), 0, side - 1) * side + clamp(Math.round(column), 0, side - 1),
  );
  let under = 0;
  let rest = 0;
  labels.forEach((label) => {
    if (hit.has(label)) under++;
    else if (label) rest++;
  });
  const wanted = clicked.some((at) => hit.has(labels[at]));
  const restWanted = clicked.some((at) => labels[at] > 0 && !hit.has(labels[at]));
  if (!wanted && (restWanted || rest > under)) {
    return touched.map((isTouched, i) => (isTouched || hit.has(labels[i]) ? 1 : 0));
  }
  let reach = DISC * Math.sqrt(under);
  for (const [row, column] of positive) {
    reach = Math.min(reach, Math.hypot(row - center[0], column - center[1]) / 2);
  }
  return touched.map((isTouched, i) => {
    const distance = (Math.floor(i / side) - center[0]) ** 2 + ((i % side) - center[1]) ** 2;
    return isTouched || distance <= reach ** 2 ? 1 : 0;
  });
}
