/**
 * Run-length encoded masks in COCO's layout: column by column, background first
 * (counts and strings as `masks/rle.py` writes them).
 */

import type { Size } from "../model/geometry";

export interface Rle {
  size: Size;
  counts: Uint32Array; // alternating runs, background first; they sum to H * W
}

export interface CocoRle {
  size: Size;
  counts: string | number[];
}

export type BoxXywh = [x: number, y: number, width: number, height: number];

export function rleArea(rle: Rle): number {
  let area = 0;
  for (let i = 1; i < rle.counts.length; i += 2) area += rle.counts[i];
  return area;
}

/** First and one-past-last flat (column-major) index of each object run that is not empty. */
export function rleRuns(rle: Rle): { starts: number[]; ends: number[] } {
  const starts: number[] = [];
  const ends: number[] = [];
  let at = 0;
  rle.counts.forEach((count, i) => {
    if (i % 2 && count) {
      starts.push(at);
      ends.push(at + count);
    }
    at += count;
  });
  return { starts, ends };
}

/** The Rle of ascending object runs [start, end); runs that touch are joined. */
export function runsToRle(starts: number[], ends: number[], size: Size): Rle {
  const counts: number[] = [];
  let at = 0;
  for (let i = 0; i < starts.length; i++) {
    if (counts.length && starts[i] <= at) {
      counts[counts.length - 1] += ends[i] - at;
    } else {
      counts.push(starts[i] - at, ends[i] - starts[i]);
    }
    at = ends[i];
  }
  const total = size[0] * size[1];
  if (at < total || !counts.length) counts.push(total - at);
  return { size, counts: Uint32Array.from(counts) };
}

/** COCO's box: x, y of the first pixel, then width and height in pixels; zeros when empty. */
export function rleBox(rle: Rle): BoxXywh {
  const height = rle.size[0];
  let [left, right, top, bottom] = [-1, 0, height, -1];
  let at = 0;
  for (let i = 0; i < rle.counts.length; i++) {
    const count = rle.counts[i];
    if (i % 2 && count) {
      const first = Math.floor(at / height);
      const last = Math.floor((at + count - 1) / height);
      if (left < 0) left = first;
      right = last;
      top = first === last ? Math.min(top, at % height) : 0;
      bottom = first === last ? Math.max(bottom, (at + count - 1) % height) : height - 1;
    }
    at += count;
  }
  return left < 0 ? [0, 0, 0, 0] : [left, top, right - left + 1, bottom - top + 1];
}

/** Whether a pixel belongs to the mask. */
export function rleHas(rle: Rle, x: number, y: number): boolean {
  const wanted = x * rle.size[0] + y;
  let at = 0;
  for (let i = 0; i < rle.counts.length; i++) {
    at += rle.counts[i];
    if (wanted < at) return i % 2 === 1;
  }
  return false;
}

/** The union, or what the first has and the second has not. */
export function rleCombine(first: Rle, second: Rle, how: "union" | "minus" | "both"): Rle {
  const [a, b] = [rleRuns(first), rleRuns(second)];
  const edges = [
    ...a.starts.map((at) => [at, 1, 0]),
    ...a.ends.map((at) => [at, -1, 0]),
    ...b.starts.map((at) => [at, 0, 1]),
    ...b.ends.map((at) => [at, 0, -1]),
  ].sort((p, q) => p[0] - q[0]);
  const wanted = (inA: number, inB: number) =>
    how === "union" ? inA + inB > 0 : how === "minus" ? inA > 0 && !inB : inA > 0 && inB > 0;
  const starts: number[] = [];
  const ends: number[] = [];
  let [inA, inB, open] = [0, 0, false];
  for (let i = 0; i < edges.length; i++) {
    inA += edges[i][1];
    inB += edges[i][2];
    if (i + 1 < edges.length && edges[i + 1][0] === edges[i][0]) continue;
    if (wanted(inA, inB) === open) continue;
    (open ? ends : starts).push(edges[i][0]);
    open = !open;
  }
  return runsToRle(starts, ends, first.size);
}

/** Intersection over union; two empty masks have 0. */
export function rleIou(first: Rle, second: Rle): number {
  const common = rleArea(rleCombine(first, second, "both"));
  return common / Math.max(1, rleArea(first) + rleArea(second) - common);
}

// ---------------------------------------------------------------------------------- COCO's text

/** COCO's compressed string: differences from the fourth run on, in 5-bit digits. */
export function rleToString(rle: Rle): string {
  const symbols: number[] = [];
  rle.counts.forEach((count, i) => {
    let value = i > 2 ? count - rle.counts[i - 2] : count;
    for (;;) {
      const low = value & 31;
      value >>= 5;
      const more = low & 16 ? value !== -1 : value !== 0;
      symbols.push(low + 48 + (more ? 32 : 0));
      if (!more) break;
    }
  });
  let text = "";
  for (let i = 0; i < symbols.length; i += 8192) {
    text += String.fromCharCode(...symbols.slice(i, i + 8192));
  }
  return text;
}

/** Read COCO's compressed string. Throws when it is no such string or does not fill `size`. */
export function stringToRle(text: string, size: Size): Rle {
  const counts: number[] = [];
  let value = 0;
  let shift = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) - 48;
    if (symbol < 0 || symbol > 63 || shift > 30) throw damaged(text);
    value |= (symbol & 31) << shift;
    shift += 5;
    if (symbol & 32) continue;
    if (symbol & 16 && shift < 32) value |= -1 << shift;
    const place = counts.length;
    counts.push(place > 2 ? value + counts[place - 2] : value);
    value = shift = 0;
  }
  if (shift) throw damaged(text);
  return checked(counts, size);
}

const damaged = (text: string) =>
  new Error(
    "The run-length string is invalid. It must hold the characters '0' to 'o' and " +
      "end with a complete " +
      `number. It starts with ${text.slice(0, 20)}. Check that it was not truncated ` +
      `or escaped twice.`,
  );

function checked(counts: number[], size: Size): Rle {
  const total = size[0] * size[1];
  const sum = counts.reduce((a, b) => a + b, 0);
  if (sum !== total || counts.some((count) => count < 0)) {
    throw new Error(
      `The run lengths sum to ${sum}. They must sum to H * W = ${size[0]} * ` +
        `${size[1]} = ${total}. ` +
        "Check the order of the size (H, W).",
    );
  }
  return { size, counts: Uint32Array.from(counts) };
}

export function rleToCoco(rle: Rle): { size: Size; counts: string } {
  return { size: [...rle.size], counts: rleToString(rle) };
}

/** Read COCO's record with compressed or plain counts. Throws on anything else. */
export function cocoToRle(record: CocoRle): Rle {
  const { size, counts } = record;
  return typeof counts === "string" ? stringToRle(counts, size) : checked(counts, size);
}
