/**
 * Between image space and model space (the numbers of `masks/resize.py`).
 *
 * H W the image, S the model's input side, m the side of its masks.
 */

import type { Spec } from "./manifest";

export type Size = [height: number, width: number];
export type XY = [x: number, y: number];
export type BoxXyxy = [x0: number, y0: number, x1: number, y1: number];

/** How one image lies in model space. */
export interface Geometry {
  imageHw: Size;
  inputHw: Size;
  side: number;
}

export const clamp = (value: number, low: number, high: number) =>
  Math.min(high, Math.max(low, value));

const rounded = (value: number) => Math.max(1, Math.floor(value + 0.5));

/** Where an image of (H, W) lies in the model's space. Sides round half up, at least 1. */
export function geometryOf(imageHw: Size, spec: Spec): Geometry {
  const side = spec.image_side;
  if (spec.fit === "square") return { imageHw, inputHw: [side, side], side };
  const scale = side / Math.max(...imageHw);
  return { imageHw, inputHw: [rounded(imageHw[0] * scale), rounded(imageHw[1] * scale)], side };
}

/** The size of the encoder's input for an image that fills `inputHw` of it. */
export function paddedHw(inputHw: Size, spec: Spec): Size {
  const side = spec.image_side;
  const step = spec.pad_multiple;
  if (!step) return [side, side];
  const [height, width] = inputHw.map((n) => Math.min(side, Math.ceil(n / step) * step));
  return [height, width];
}

/** Rows and columns of a map of `cells` x `cells` that the image fills, the last ones in part. */
export function filledCells({ inputHw, side }: Geometry, cells: number): Size {
  return [Math.ceil((inputHw[0] * cells) / side), Math.ceil((inputHw[1] * cells) / side)];
}

/** The same image shrunk so that its longest side is at most `limit`; 0 leaves it. */
export function reduced(geometry: Geometry, limit: number): Geometry {
  const longest = Math.max(...geometry.imageHw);
  if (!limit || longest <= limit) return geometry;
  const scale = limit / longest;
  const [height, width] = geometry.imageHw;
  return { ...geometry, imageHw: [rounded(height * scale), rounded(width * scale)] };
}

/** Model pixels per image pixel, along x and along y. */
export function scaleXy(geometry: Geometry): XY {
  return [geometry.inputHw[1] / geometry.imageHw[1], geometry.inputHw[0] / geometry.imageHw[0]];
}

/** For each of `count` half-pixel places: the old pixel before it and the next one's weight. */
export function taps(old: number, count: number): { first: Int32Array; weight: Float32Array } {
  const first = new Int32Array(count);
  const weight = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const place = Math.max((i + 0.5) * (old / count) - 0.5, 0);
    first[i] = Math.min(Math.floor(place), old - 1);
    weight[i] = place - first[i];
  }
  return { first, weight };
}

export const REACH = 3; // neighboring logits of which one pixel of the image is made, at most

/** Both bilinear steps of one axis: `REACH` weights of consecutive logits for each pixel. */
export interface AxisOperator {
  start: Int32Array; // (full,)
  weights: Float32Array; // (full, REACH)
}

const operators = new Map<string, AxisOperator>();

/**
 * low     logits along the axis, of which `side` model pixels are made; the image fills `filled`
 * full    pixels of the image
 */
function axisOperator(low: number, side: number, filled: number, full: number): AxisOperator {
  const key = `${low} ${side} ${filled} ${full}`;
  const known = operators.get(key);
  if (known) return known;
  const up = taps(low, side);
  const down = taps(filled, full);
  const start = new Int32Array(full);
  const weights = new Float32Array(full * REACH);
  const add = (pixel: number, model: number, share: number) => {
    const cell = up.first[model];
    const next = Math.min(cell + 1, low - 1);
    weights[pixel * REACH + cell - start[pixel]] += share * (1 - up.weight[model]);
    weights[pixel * REACH + next - start[pixel]] += share * up.weight[model];
  };
  for (let pixel = 0; pixel < full; pixel++) {
    const model = down.first[pixel];
    start[pixel] = Math.min(up.first[model], Math.max(0, low - REACH));
    add(pixel, model, 1 - down.weight[pixel]);
    if (down.weight[pixel] > 0) add(pixel, Math.min(model + 1, filled - 1), down.weight[pixel]);
  }
  if (operators.size > 15) operators.clear();
  const operator = { start, weights };
  operators.set(key, operator);
  return operator;
}

/** The operators of a mask's rows and columns over an image. */
export function operatorsOf(maskSide: number, geometry: Geometry): [AxisOperator, AxisOperator] {
  const { side, inputHw, imageHw } = geometry;
  return [
    axisOperator(maskSide, side, inputHw[0], imageHw[0]),
    axisOperator(maskSide, side, inputHw[1], imageHw[1]),
  ];
}
