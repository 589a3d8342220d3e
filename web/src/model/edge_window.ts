/**
 * The window around a mask's edge, to look once more: logits, image and prompt in, one size out
 * (`segment/prediction.py`).
 *
 * A window is a square of cells around the object; n of them a side, m the side of the logits.
 */

import { clamp, filledCells, scaleXy, type Geometry, type XY } from "./geometry";
import type { Prompt } from "./prompts";
import { areaWeights, roundEven, type Pixels } from "./resample";

export const WINDOW = 256; // pixels of a window
const [MARGIN, SHARE] = [4, 0.12]; // around the object: cells at least, of its longer side
const FEWEST = 16; // cells of a window
const SPOT = 5; // pixels of a window: how wide a click is drawn

export interface EdgeWindow {
  x: number; // of its first cell; it may lie over the edge of the logits
  y: number;
  cells: number;
  pixel: XY; // image pixels a cell is wide and high
}

/** From a window's pixels to the image's along one axis, pixel centers at whole numbers. */
export interface AxisMap {
  step: number;
  start: number;
}

export function toImage({ x, y, cells, pixel }: EdgeWindow): [across: AxisMap, down: AxisMap] {
  const size = cells / WINDOW;
  const along = (first: number, wide: number) => ({
    step: size * wide,
    start: (first + size / 2) * wide - 0.5,
  });
  return [along(x, pixel[0]), along(y, pixel[1])];
}

/** The window of the object above the threshold; null where there is no object in the image. */
export function windowAround(
  plane: Float32Array,
  threshold: number,
  geometry: Geometry,
): EdgeWindow | null {
  const side = Math.sqrt(plane.length);
  const [rows, columns] = filledCells(geometry, side);
  let [left, right, top, bottom] = [side, -1, side, -1];
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      if (plane[y * side + x] <= threshold) continue;
      [left, right] = [Math.min(left, x), Math.max(right, x)];
      [top, bottom] = [Math.min(top, y), y];
    }
  }
  if (right < 0) return null;
  const longer = Math.max(right - left, bottom - top) + 1;
  const margin = Math.max(MARGIN, roundEven(SHARE * longer));
  const [x0, x1] = [Math.max(left - margin, 0), Math.min(right + 1 + margin, columns)];
  const [y0, y1] = [Math.max(top - margin, 0), Math.min(bottom + 1 + margin, rows)];
  const cells = Math.max(x1 - x0, y1 - y0, FEWEST);
  const cell = geometry.side / side;
  const [scaleX, scaleY] = scaleXy(geometry);
  return {
    x: Math.floor((x0 + x1 - cells) / 2),
    y: Math.floor((y0 + y1 - cells) / 2),
    cells,
    pixel: [cell / scaleX, cell / scaleY],
  };
}

/** The window's cells (n, n) above the threshold; beyond the logits those of their edge. */
export function windowLogits(
  plane: Float32Array,
  threshold: number,
  { x, y, cells }: EdgeWindow,
): Float32Array {
  const side = Math.sqrt(plane.length);
  return Float32Array.from({ length: cells * cells }, (_, i) => {
    const row = clamp(y + Math.floor(i / cells), 0, side - 1);
    const column = clamp(x + (i % cells), 0, side - 1);
    return plane[row * side + column] - threshold;
  });
}

/** The image in the window as planes (3, WINDOW, WINDOW) of 0 to 255: means where it shrinks. */
export function windowImage(image: Pixels, window: EdgeWindow): Float32Array {
  const [across, down] = toImage(window).map((map, axis) =>
    windowAxis(axis ? image.height : image.width, map),
  );
  const part = shrunk(image, across, down);
  const [width, area] = [across.small, WINDOW * WINDOW];
  const out = new Float32Array(3 * area);
  for (let y = 0, at = 0; y < WINDOW; y++) {
    const [above, below] = [down.first[y] * width, down.second[y] * width];
    const wy = down.weight[y];
    for (let x = 0; x < WINDOW; x++, at++) {
      const wx = across.weight[x];
      for (let channel = 0; channel < 3; channel++) {
        const pixel = (row: number, column: number) => part[3 * (row + column) + channel];
        const high = mixed(pixel(above, across.first[x]), pixel(above, across.second[x]), wx);
        const low = mixed(pixel(below, across.first[x]), pixel(below, across.second[x]), wx);
        out[channel * area + at] = Math.round(mixed(high, low, wy));
      }
    }
  }
  return out;
}

const mixed = (one: number, other: number, share: number) => one + share * (other - one);

/** One axis of a window of an image: what is cut, how far it shrinks, what a pixel is made of. */
interface WindowAxis extends Taps {
  low: number; // the first pixel that is cut
  length: number;
  small: number; // pixels that these become, so that a window's pixel skips none
}

interface Taps {
  first: Int32Array;
  second: Int32Array;
  weight: Float32Array; // of the second
}

function windowAxis(whole: number, { step, start }: AxisMap): WindowAxis {
  const low = clamp(Math.floor(start - step), 0, whole - 1);
  const high = clamp(Math.ceil(start + WINDOW * step) + 1, low + 1, whole);
  const length = high - low;
  const small = Math.max(1, roundEven(length / Math.max(1, step)));
  const scale = small / length;
  const map = { step: step * scale, start: (start - low) * scale + (scale - 1) / 2 };
  return { low, length, small, ...tapsOf(map, 0, WINDOW, small) };
}

/** Between which pixels of `length` the `count` places from the first one on lie; ends repeat. */
export function tapsOf(
  { step, start }: AxisMap,
  from: number,
  count: number,
  length: number,
): Taps {
  const [first, second] = [new Int32Array(count), new Int32Array(count)];
  const weight = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const place = start + (from + i) * step;
    const low = Math.floor(place);
    weight[i] = place - low;
    first[i] = clamp(low, 0, length - 1);
    second[i] = clamp(low + 1, 0, length - 1);
  }
  return { first, second, weight };
}

/** The part of an image that two axes cut, each pixel the mean of those it covers: (h, w, 3). */
function shrunk({ data, width }: Pixels, across: WindowAxis, down: WindowAxis): Float32Array {
  const columns = areaWeights(across.length, across.small);
  const rows = areaWeights(down.length, down.small);
  const out = new Float32Array(down.small * across.small * 3);
  const line = new Float32Array(across.length * 3);
  for (let y = 0; y < down.small; y++) {
    line.fill(0);
    rows.values[y].forEach((share, i) => {
      let at = ((down.low + rows.first[y] + i) * width + across.low) * 4;
      for (let x = 0; x < line.length; x += 3, at += 4) {
        line[x] += share * data[at];
        line[x + 1] += share * data[at + 1];
        line[x + 2] += share * data[at + 2];
      }
    });
    for (let x = 0; x < across.small; x++) {
      const shares = columns.values[x];
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let i = 0; i < shares.length; i++) {
          sum += shares[i] * line[3 * (columns.first[x] + i) + channel];
        }
        out[3 * (y * across.small + x) + channel] = roundEven(sum);
      }
    }
  }
  return out;
}

/** The prompt as maps (2, WINDOW, WINDOW): clicks 1, -1; the box 1 inside, -1 outside, 0 none. */
export function windowPrompt({ clicks, box }: Prompt, window: EdgeWindow): Float32Array {
  const [across, down] = toImage(window);
  const area = WINDOW * WINDOW;
  const maps = new Float32Array(2 * area);
  const spot = (place: number, { step, start }: AxisMap) => {
    const center = (place - start) / step;
    return Float32Array.from({ length: WINDOW }, (_, i) =>
      Math.exp(-(((i - center) / SPOT) ** 2) / 2),
    );
  };
  for (const { x, y, label } of clicks) {
    const [wide, high] = [spot(x, across), spot(y, down)];
    const sign = label ? 1 : -1;
    for (let i = 0; i < area; i++)
      maps[i] += sign * high[Math.floor(i / WINDOW)] * wide[i % WINDOW];
  }
  if (!box) return maps;
  const inside = (low: number, high: number, { step, start }: AxisMap) =>
    Uint8Array.from({ length: WINDOW }, (_, i) => {
      const place = start + i * step + 0.5;
      return place > low && place < high ? 1 : 0;
    });
  const [wide, high] = [inside(box[0], box[2], across), inside(box[1], box[3], down)];
  for (let i = 0; i < area; i++) {
    maps[area + i] = 2 * (high[Math.floor(i / WINDOW)] & wide[i % WINDOW]) - 1;
  }
  return maps;
}
