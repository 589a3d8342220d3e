/**
 * The close-up of a mask: what the network of names looks at (`models/rules/crops.py`).
 *
 * A square around the object, in which it has the longer side of its box `CONTEXT` times; what
 * lies beyond the image is gray and no object.
 */

import { patchHas, rleToPatch, type Patch } from "../masks/patch";
import type { Rle } from "../masks/rle";
import type { Window } from "./closer";
import type { Size } from "./geometry";
import { resized, roundEven, type ReadRows } from "./resample";

const SIDE = 248; // pixels of a close-up
const CONTEXT = 1.8; // of the mask's longer side
const FEWEST = 16; // pixels of the image along a close-up
const BEYOND = 128; // the color outside of the image
const WHOLE = 255; // of a pixel that is all object

export interface CloseUp {
  image: Float32Array; // (3, S, S) of 0 to 255
  mask: Float32Array; // (S, S), the part of each pixel that is object, 0 to 1
}

/** Reads a window of an image. */
type ReadWindow = (window: Window) => ReadRows;

/** The square around a mask; of an empty mask that around the image's first pixel. */
export async function closeUp(rle: Rle, read: ReadWindow, side = SIDE): Promise<CloseUp> {
  const patch = rleToPatch(rle);
  const [height, width] = patch.hw;
  const longer = Math.max(patch.width, patch.height, 1);
  const length = Math.max(FEWEST, roundEven(CONTEXT * longer));
  const start = (low: number, size: number) =>
    Math.floor((2 * low + Math.max(size, 1) - length) / 2);
  const [left, top] = [start(patch.x, patch.width), start(patch.y, patch.height)];
  const inside: Window = [
    Math.max(left, 0),
    Math.max(top, 0),
    Math.min(left + length, width),
    Math.min(top + length, height),
  ];
  const edges = inside.map((at, i) => roundEven(((at - [left, top][i % 2]) * side) / length));
  const size: Size = [Math.max(1, edges[3] - edges[1]), Math.max(1, edges[2] - edges[0])];
  const crop = { image: new Float32Array(3 * side ** 2), mask: new Float32Array(side ** 2) };
  for (const [target, rows, beyond] of [
    [crop.image, read(inside), BEYOND],
    [crop.mask, maskRows(patch, inside), 0],
  ] as const) {
    const part: Size = [inside[3] - inside[1], inside[2] - inside[0]];
    const drawn = await resized(part, size, "area", rows);
    put(target.fill(beyond), side, drawn, size, edges);
  }
  return { ...crop, mask: crop.mask.map((level) => level / WHOLE) };
}

/** A window of a mask as an image whose red is the mask. */
function maskRows(patch: Patch, [x0, y0, x1]: Window): ReadRows {
  const width = x1 - x0;
  return async (top, rows) => {
    const out = new Uint8ClampedArray(4 * width * rows);
    for (let row = 0, at = 0; row < rows; row++) {
      for (let x = x0; x < x1; x++, at += 4)
        if (patchHas(patch, x, y0 + top + row)) out[at] = WHOLE;
    }
    return out;
  };
}

/** Put (h, w, 3) pixels into as many planes as there are, cut at their right and lower end. */
function put(
  planes: Float32Array,
  side: number,
  drawn: Float32Array,
  [height, width]: Size,
  [left, top]: number[],
): void {
  for (let plane = 0; plane * side ** 2 < planes.length; plane++) {
    for (let y = 0; y < height && top + y < side; y++) {
      const row = (plane * side + top + y) * side + left;
      for (let x = 0; x < width && left + x < side; x++) {
        planes[row + x] = drawn[(y * width + x) * 3 + plane];
      }
    }
  }
}
