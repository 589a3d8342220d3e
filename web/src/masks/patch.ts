/**
 * A mask's window of an image as pixels: what brushes edit and the screen shows.
 *
 * `hw` is the size of the whole image that the window lies in: the image, or a reduced one.
 */

import type { Size } from "../model/geometry";
import { rleBox, rleRuns, runsToRle, type Rle } from "./rle";

export interface Patch {
  hw: Size;
  x: number;
  y: number;
  width: number;
  height: number;
  data: Uint8Array; // (height, width), 0 or 1
}

export function emptyPatch(hw: Size): Patch {
  return { hw, x: 0, y: 0, width: 0, height: 0, data: new Uint8Array(0) };
}

export function patchArea(patch: Patch): number {
  let area = 0;
  for (let i = 0; i < patch.data.length; i++) area += patch.data[i];
  return area;
}

export function rleToPatch(rle: Rle): Patch {
  const [x, y, width, height] = rleBox(rle);
  const data = new Uint8Array(width * height);
  const rows = rle.size[0];
  const { starts, ends } = rleRuns(rle);
  starts.forEach((start, i) => {
    for (let at = start; at < ends[i];) {
      const column = Math.floor(at / rows);
      const stop = Math.min(ends[i], (column + 1) * rows);
      let place = (at - column * rows - y) * width + column - x;
      for (; at < stop; at++, place += width) data[place] = 1;
    }
  });
  return { hw: rle.size, x, y, width, height, data };
}

export function patchToRle(patch: Patch): Rle {
  const rows = patch.hw[0];
  const starts: number[] = [];
  const ends: number[] = [];
  for (let column = 0; column < patch.width; column++) {
    const base = (patch.x + column) * rows + patch.y;
    let inside = 0;
    for (let row = 0, at = column; row < patch.height; row++, at += patch.width) {
      if (patch.data[at] === inside) continue;
      (inside ? ends : starts).push(base + row);
      inside = patch.data[at];
    }
    if (inside) ends.push(base + patch.height);
  }
  return runsToRle(starts, ends, patch.hw);
}

/** The same mask in a window that also covers [x0, x1) x [y0, y1), cut at the image. */
export function grown(patch: Patch, x0: number, y0: number, x1: number, y1: number): Patch {
  const [rows, columns] = patch.hw;
  const none = !patch.data.length;
  const left = Math.max(0, none ? x0 : Math.min(x0, patch.x));
  const top = Math.max(0, none ? y0 : Math.min(y0, patch.y));
  const right = Math.min(columns, none ? x1 : Math.max(x1, patch.x + patch.width));
  const bottom = Math.min(rows, none ? y1 : Math.max(y1, patch.y + patch.height));
  const width = Math.max(0, right - left);
  const height = Math.max(0, bottom - top);
  const data = new Uint8Array(width * height);
  for (let row = 0; row < patch.height; row++) {
    const source = patch.data.subarray(row * patch.width, (row + 1) * patch.width);
    data.set(source, (patch.y - top + row) * width + patch.x - left);
  }
  return { hw: patch.hw, x: left, y: top, width, height, data };
}

/** The same mask in the smallest window. */
export function trimmed(patch: Patch): Patch {
  const { hw, width, height, data } = patch;
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y++) {
    const row = data.subarray(y * width, (y + 1) * width);
    const first = row.indexOf(1);
    if (first < 0) continue;
    [left, right] = [Math.min(left, first), Math.max(right, row.lastIndexOf(1))];
    [top, bottom] = [Math.min(top, y), y];
  }
  if (right < 0) return emptyPatch(patch.hw);
  const [wide, high] = [right - left + 1, bottom - top + 1];
  const out = new Uint8Array(wide * high);
  for (let y = 0; y < high; y++) {
    const from = (top + y) * width + left;
    out.set(data.subarray(from, from + wide), y * wide);
  }
  return { hw, x: patch.x + left, y: patch.y + top, width: wide, height: high, data: out };
}

/** Whether a pixel of the image is in the mask. */
export function patchHas(patch: Patch, x: number, y: number): boolean {
  const [column, row] = [x - patch.x, y - patch.y];
  if (column < 0 || row < 0 || column >= patch.width || row >= patch.height) return false;
  return patch.data[row * patch.width + column] === 1;
}
