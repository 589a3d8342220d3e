/**
 * A closer look at an object: its box in, a window of the image out; two answers in, one out
 * (`segment/pipeline.py`).
 */

import { trimmed, type Patch } from "../masks/patch";
import { tapsOf } from "./edge_window";
import { clamp, scaleXy, type BoxXyxy, type Geometry, type Size } from "./geometry";
import type { CropRefinement } from "./manifest";
import type { Prompt } from "./prompts";

/** Whole pixels of the image, the last two exclusive. */
export type Window = [x0: number, y0: number, x1: number, y1: number];

const SURE = 12; // logits beyond it are as sure

/** Whether a prompt says how large the object is: a box does, and more than one click. */
export const isClear = ({ clicks, box }: Prompt) => box !== null || clicks.length > 1;

/** What the prompt speaks of, with the first mask where no box says it, or null. */
export function objectBox({ clicks, box }: Prompt, mask: Patch): BoxXyxy | null {
  const [height, width] = mask.hw;
  const places = clicks.filter(({ label }) => label === 1).map(({ x, y }) => [x, y]);
  if (box) {
    places.push([Math.max(0, box[0]), Math.max(0, box[1])]);
    places.push([Math.min(width, box[2]), Math.min(height, box[3])]);
  } else {
    const { x, y, width: columns, height: rows, data } = trimmed(mask);
    if (data.length) places.push([x, y], [x + columns - 1, y + rows - 1]);
  }
  if (!places.length) return null;
  const [xs, ys] = [0, 1].map((axis) => places.map((place) => Math.fround(place[axis])));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** A square window around a box of the image, or null where it shows the box hardly larger. */
export function closerWindow(
  [x0, y0, x1, y1]: BoxXyxy,
  [height, width]: Size,
  close: CropRefinement,
): Window | null {
  const longer = Math.max(x1 - x0, y1 - y0);
  const side = Math.max(Math.ceil(longer * (1 + 2 * close.margin)) + 1, close.min_side);
  const [left, right] = around(x0, x1, side, width);
  const [top, bottom] = around(y0, y1, side, height);
  if (Math.max(right - left, bottom - top) * close.gain > Math.max(height, width)) return null;
  return [left, top, right, bottom];
}

/** `side` whole pixels within 0 .. length, in the middle of which low .. high lies. */
function around(low: number, high: number, side: number, length: number): [number, number] {
  if (side >= length) return [0, length];
  const middle = Math.floor((low + high - side) / 2);
  const start = Math.min(Math.max(middle, Math.ceil(high) - side), Math.floor(low));
  const first = Math.min(Math.max(start, 0), length - side);
  return [first, first + side];
}

/** The same prompt in the window's pixels; clicks begin with the mask that they have corrected. */
export function promptInWindow({ clicks, box }: Prompt, window: Window, first: Patch): Prompt {
  const [x0, y0, x1, y1] = window;
  return {
    clicks: clicks
      .filter(({ x, y }) => x >= x0 && y >= y0 && x < x1 && y < y1) // others have nothing to say
      .map(({ x, y, label }) => ({ x: x - x0, y: y - y0, label })),
    box: box && [
      clamp(box[0] - x0, 0, x1 - x0),
      clamp(box[1] - y0, 0, y1 - y0),
      clamp(box[2] - x0, 0, x1 - x0),
      clamp(box[3] - y0, 0, y1 - y0),
    ],
    mask: clicks.length ? patchInWindow(first, window) : null,
  };
}

function patchInWindow(patch: Patch, [x0, y0, x1, y1]: Window): Patch {
  const [left, right] = [Math.max(patch.x, x0), Math.min(patch.x + patch.width, x1)];
  const [top, bottom] = [Math.max(patch.y, y0), Math.min(patch.y + patch.height, y1)];
  const [width, height] = [Math.max(0, right - left), Math.max(0, bottom - top)];
  const data = new Uint8Array(width * height);
  for (let row = 0; row < height; row++) {
    const from = (top - patch.y + row) * patch.width + left - patch.x;
    data.set(patch.data.subarray(from, from + width), row * width);
  }
  return { hw: [y1 - y0, x1 - x0], x: left - x0, y: top - y0, width, height, data };
}

/** A mask of the window as one of the image. */
export function patchOnImage(patch: Patch, [x0, y0]: Window, hw: Size): Patch {
  return { ...patch, hw, x: patch.x + x0, y: patch.y + y0 };
}

/** Logits of an image where the cells of an answer about a window of it lie. */
export function logitsAround(
  logits: Float32Array,
  place: Geometry,
  window: Window,
  near: Geometry,
): Float32Array {
  const side = Math.sqrt(logits.length);
  const scale = scaleXy(place);
  const [across, down] = [0, 1].map((axis) => {
    const whole = (scale[axis] * side) / place.side; // cells an image pixel
    const length = window[2 + axis] - window[axis];
    const cell = (length * near.side) / (side * near.inputHw[1 - axis]); // image pixels a cell
    const start = (window[axis] + cell / 2) * whole - 0.5;
    return tapsOf({ step: cell * whole, start }, 0, side, side);
  });
  return Float32Array.from({ length: logits.length }, (_, at) => {
    const [y, x] = [Math.floor(at / side), at % side];
    const [above, below] = [down.first[y] * side, down.second[y] * side];
    const mixed = (row: number) => {
      const one = logits[row + across.first[x]];
      return one + across.weight[x] * (logits[row + across.second[x]] - one);
    };
    return mixed(above) + down.weight[y] * (mixed(below) - mixed(above));
  });
}

/** The logits of the mean of both answers' chances; `weight` is that of the near one. */
export function meanChance(
  near: Float32Array,
  far: Float32Array,
  threshold: number,
  weight: number,
): Float32Array {
  const chanceOf = (logit: number) =>
    1 / (1 + Math.exp(-Math.min(SURE, Math.max(-SURE, logit - threshold))));
  return near.map((logit, i) => {
    const chance = weight * chanceOf(logit) + (1 - weight) * chanceOf(far[i]);
    return Math.log(chance) - Math.log1p(-chance) + threshold;
  });
}
