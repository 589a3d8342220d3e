/**
 * Edges at the image's resolution: a mask's logits and the image in, its pixels out, the edge where
 * a network of edges puts it (`segment/prediction.py`; a bundle without that network has none).
 */

import { emptyPatch, trimmed, type Patch } from "../masks/patch";
import { withoutCrumbs } from "./crumbs";
import {
  WINDOW,
  tapsOf,
  toImage,
  windowAround,
  windowLogits,
  windowImage,
  windowPrompt,
} from "./edge_window";
import type { AxisMap, EdgeWindow } from "./edge_window";
import { clamp, reduced, taps, type Geometry, type Size } from "./geometry";
import { rowsOf } from "./logits";
import type { Prompt } from "./prompts";
import { scaledAreas, type LeastAreas } from "./region_size";
import { roundEven, type Pixels } from "./resample";

export const LONGEST = 2048; // pixels: larger images are looked at in this size

/** What the network of edges is asked about a window of n x n cells. */
export interface EdgeQuestion {
  image: Float32Array; // (3, WINDOW, WINDOW) of 0 to 255
  logits: Float32Array; // (n, n)
  prompt: Float32Array; // (2, WINDOW, WINDOW)
}

/** What to add to the logits: (WINDOW, WINDOW). */
export type EdgeNetwork = (asked: EdgeQuestion) => Promise<Float32Array>;

/** A mask that is to be drawn, above its threshold. */
interface Drawn {
  logits: Float32Array; // (m, m)
  threshold: number;
  prompt: Prompt;
  geometry: Geometry;
  least: LeastAreas; // of holes and islands
}

/**
 * The mask in the size in which the image's edges are looked at (`LONGEST`), or null where its own
 * cells are as fine as the image, or it has no object.
 */
export async function refined(
  drawn: Drawn,
  image: Pixels,
  network: EdgeNetwork,
): Promise<Patch | null> {
  const { logits, threshold } = drawn;
  const place = reduced(drawn.geometry, LONGEST);
  if (Math.max(...place.imageHw) <= Math.sqrt(logits.length)) return null;
  const window = windowAround(logits, threshold, place);
  if (!window) return null;
  const prompt = scaledPrompt(drawn.prompt, drawn.geometry, place);
  const change = await network({
    image: windowImage(image, window),
    logits: windowLogits(logits, threshold, window),
    prompt: windowPrompt(prompt, window),
  });
  const patch = decided({ ...drawn, prompt, geometry: place }, change, window);
  const scale = place.imageHw[1] / drawn.geometry.imageHw[1];
  return withoutCrumbs(patch, prompt.clicks, scaledAreas(drawn.least, scale));
}

/** The prompt for the image in another size, its box cut at the image. */
function scaledPrompt({ clicks, box }: Prompt, from: Geometry, to: Geometry): Prompt {
  const scale = to.imageHw[1] / from.imageHw[1];
  const [height, width] = from.imageHw;
  const [x0, y0, x1, y1] = box ?? [0, 0, 0, 0];
  const cut = [Math.max(0, x0), Math.max(0, y0), Math.min(width, x1), Math.min(height, y1)];
  return {
    clicks: clicks.map(({ x, y, label }) => ({ x: x * scale, y: y * scale, label })),
    box: box && (cut.map((n) => n * scale) as typeof box),
    mask: null,
  };
}

/** The pixels above the threshold after the change; what the prompt itself says stays. */
function decided(
  { logits, threshold, prompt, geometry }: Drawn,
  change: Float32Array,
  window: EdgeWindow,
): Patch {
  const [height, width] = geometry.imageHw;
  const [across, down] = toImage(window);
  const [left, right] = reach(across, width);
  const [top, bottom] = reach(down, height);
  if (right <= left || bottom <= top) return emptyPatch(geometry.imageHw);
  const back = ({ step, start }: AxisMap) => ({ step: 1 / step, start: -start / step });
  const columns = tapsOf(back(across), left, right - left, WINDOW);
  const rows = tapsOf(back(down), top, bottom - top, WINDOW);
  const draw = rowsOf(logits, geometry, [left, right]);
  const wide = right - left;
  const data = new Uint8Array(wide * (bottom - top));
  const own = new Float32Array(width);
  const line = new Float32Array(WINDOW);
  const settled = settledIn(prompt, geometry);
  for (let y = top; y < bottom; y++) {
    draw(y, own);
    const [above, below] = [rows.first[y - top] * WINDOW, rows.second[y - top] * WINDOW];
    const wy = rows.weight[y - top];
    for (let x = 0; x < WINDOW; x++) {
      line[x] = change[above + x] + wy * (change[below + x] - change[above + x]);
    }
    const row = (y - top) * wide - left;
    for (let x = left; x < right; x++) {
      const [one, other] = [line[columns.first[x - left]], line[columns.second[x - left]]];
      const more = one + columns.weight[x - left] * (other - one);
      const [before, after] = [own[x] > threshold, own[x] - threshold + more > 0];
      if (before !== after && settled(x, y) ? before : after) data[row + x] = 1;
    }
  }
  const high = bottom - top;
  return trimmed({ hw: geometry.imageHw, x: left, y: top, width: wide, height: high, data });
}

/** First and one-past-last pixel of the image that an axis of a window covers. */
function reach({ step, start }: AxisMap, length: number): [number, number] {
  const end = Math.floor(start + (WINDOW - 0.5) * step) + 1;
  return [clamp(Math.ceil(start - step / 2), 0, length), clamp(end, 0, length)];
}

/** Whether the prompt itself speaks about a pixel: one that was clicked, or outside the box. */
function settledIn({ clicks, box }: Prompt, { imageHw }: Geometry) {
  const [height, width] = imageHw;
  const spots = clicks.map(({ x, y }) => [
    clamp(Math.floor(x), 0, width - 1),
    clamp(Math.floor(y), 0, height - 1),
  ]);
  const [x0, y0, x1, y1] = box?.map(roundEven) ?? [0, 0, width, height];
  return (x: number, y: number) =>
    x < x0 ||
    x >= x1 ||
    y < y0 ||
    y >= y1 ||
    spots.some(([column, row]) => Math.abs(x - column) <= 1 && Math.abs(y - row) <= 1);
}

/** A mask of a smaller image on the image itself, its edge between the pixels' centers. */
export function enlarged(patch: Patch, imageHw: Size): Patch {
  const { hw, x: left, y: top, width, height, data } = patch;
  if (hw[0] === imageHw[0] && hw[1] === imageHw[1]) return patch;
  if (!data.length) return emptyPatch(imageHw);
  const [x0, x1] = [left - 1, left + width + 1].map((n) => Math.round((n * imageHw[1]) / hw[1]));
  const [y0, y1] = [top - 1, top + height + 1].map((n) => Math.round((n * imageHw[0]) / hw[0]));
  const [from, to] = [
    [Math.max(0, x0), Math.max(0, y0)],
    [Math.min(imageHw[1], x1), Math.min(imageHw[0], y1)],
  ];
  const [wide, high] = [to[0] - from[0], to[1] - from[1]];
  const [columns, rows] = [taps(hw[1], imageHw[1]), taps(hw[0], imageHw[0])];
  const at = (row: number, column: number) => {
    const [y, x] = [row - top, column - left];
    return y >= 0 && x >= 0 && y < height && x < width ? data[y * width + x] : 0;
  };
  const out = new Uint8Array(wide * high);
  for (let y = 0; y < high; y++) {
    const row = rows.first[from[1] + y];
    const below = Math.min(row + 1, hw[0] - 1);
    const wy = rows.weight[from[1] + y];
    for (let x = 0; x < wide; x++) {
      const column = columns.first[from[0] + x];
      const beside = Math.min(column + 1, hw[1] - 1);
      const wx = columns.weight[from[0] + x];
      const high = at(row, column) * (1 - wx) + at(row, beside) * wx;
      const low = at(below, column) * (1 - wx) + at(below, beside) * wx;
      if (high * (1 - wy) + low * wy > 0.5) out[y * wide + x] = 1;
    }
  }
  return trimmed({ hw: imageHw, x: from[0], y: from[1], width: wide, height: high, data: out });
}
