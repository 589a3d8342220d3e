/**
 * Outlines: rings along the pixels' edges of a mask, smooth, simplified; and rings filled again.
 *
 * Outer rings and holes are rings alike: filling counts crossings (even-odd).
 */

import type { Size, XY } from "../model/geometry";
import { emptyPatch, type Patch } from "./patch";

export type Ring = readonly XY[];

/**
 * Every ring of a mask, corner points only; the mask lies to the right of its direction.
 *
 * apart  pixels that touch at a corner only have rings of their own
 */
export function tracePatch(patch: Patch, apart = false): Ring[] {
  const { width, height, data } = patch;
  const wide = width + 1;
  const filled = (x: number, y: number) =>
    x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] === 1;
  // Each grid corner may start a step right (0), down (1), left (2) or up (3).
  const steps = new Uint8Array(wide * (height + 1));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!data[y * width + x]) continue;
      if (!filled(x, y - 1)) steps[y * wide + x] |= 1;
      if (!filled(x + 1, y)) steps[y * wide + x + 1] |= 2;
      if (!filled(x, y + 1)) steps[(y + 1) * wide + x + 1] |= 4;
      if (!filled(x - 1, y)) steps[(y + 1) * wide + x] |= 8;
    }
  }
  const moves = [1, wide, -1, -wide];
  const rings: Ring[] = [];
  for (let seed = 0; seed < steps.length; seed++) {
    while (steps[seed]) {
      const ring: XY[] = [];
      let at = seed;
      let heading = -1;
      do {
        const next = turn(steps[at], heading, apart ? [1, 0, 3] : [3, 0, 1]);
        if (next !== heading) ring.push([patch.x + (at % wide), patch.y + Math.floor(at / wide)]);
        heading = next;
        steps[at] &= ~(1 << heading);
        at += moves[heading];
      } while (at !== seed);
      rings.push(ring);
    }
  }
  return rings;
}

/** Of the steps that leave a corner the first of those turns; left keeps neighbors together. */
function turn(open: number, heading: number, turns: number[]): number {
  const order = heading < 0 ? [0, 1, 2, 3] : turns.map((step) => (heading + step) % 4);
  return order.find((step) => open & (1 << step)) ?? 0;
}

/** Square pixels of a ring; negative of a hole. */
export function ringArea(ring: Ring): number {
  return ring.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = ring[(i + 1) % ring.length];
    return sum + (x * nextY - nextX * y) / 2;
  }, 0);
}

const LONG = 3; // pixels of a side from which it is no stair

/**
 * A traced ring through the middles of its steps: every pixel's center stays on its side. Corners
 * between two sides of LONG pixels stay (`mask_to_polygons` with smooth).
 */
export function withoutStairs(ring: Ring): Ring {
  const count = ring.length;
  const sides = ring.map(([x, y], i) => {
    const [endX, endY] = ring[(i + 1) % count];
    const length = Math.abs(endX - x) + Math.abs(endY - y);
    return { x, y, length, right: (endX - x) / length, down: (endY - y) / length };
  });
  const turns = sides.map(({ right, down }, i) => {
    const before = sides[(i || count) - 1];
    return before.right * down > before.down * right;
  });
  return sides.flatMap(({ x, y, length, right, down }, i) => {
    const along = (part: number): XY => [x + right * part, y + down * part];
    const sharp = length >= LONG && sides[(i || count) - 1].length >= LONG;
    const corner = sharp ? [along(0)] : [];
    if (turns[i] !== turns[(i + 1) % count]) return [...corner, along(length / 2)];
    return [...corner, along(0.5), ...(length > 1 ? [along(length - 0.5)] : [])];
  });
}

/** Douglas-Peucker on a closed ring: no dropped point is farther than `tolerance`. */
export function simplified(ring: Ring, tolerance: number): Ring {
  if (ring.length < 4) return ring;
  let far = 0;
  ring.forEach((point, i) => {
    if (distance2(point, ring[0]) > distance2(ring[far], ring[0])) far = i;
  });
  const closed = [...ring, ring[0]];
  const kept = new Set([0, far]);
  const spans: [number, number][] = [
    [0, far],
    [far, ring.length],
  ];
  for (let span = spans.pop(); span; span = spans.pop()) {
    const [first, last] = span;
    let [most, place] = [tolerance, -1];
    for (let i = first + 1; i < last; i++) {
      const off = fromLine(closed[i], closed[first], closed[last]);
      if (off > most) [most, place] = [off, i];
    }
    if (place < 0) continue;
    kept.add(place);
    spans.push([first, place], [place, last]);
  }
  const out = ring.filter((_, i) => kept.has(i));
  return out.length > 2 ? out : ring;
}

const distance2 = (a: XY, b: XY) => (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2;

function fromLine(point: XY, a: XY, b: XY): number {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  if (!length) return Math.sqrt(distance2(point, a));
  const t = ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / length;
  const near = Math.min(1, Math.max(0, t));
  return Math.hypot(point[0] - a[0] - near * dx, point[1] - a[1] - near * dy);
}

/** The pixels whose centers lie inside rings (even-odd), in image pixels. */
export function fillRings(rings: readonly Ring[], hw: Size): Patch {
  const usable = rings.filter((ring) => ring.length > 2);
  const points = usable.flat();
  if (!points.length) return emptyPatch(hw);
  const xs = points.map((point) => point[0]);
  const ys = points.map((point) => point[1]);
  const x = Math.max(0, Math.floor(lowest(xs)));
  const y = Math.max(0, Math.floor(lowest(ys)));
  const width = Math.min(hw[1], Math.ceil(highest(xs))) - x;
  const height = Math.min(hw[0], Math.ceil(highest(ys))) - y;
  if (width <= 0 || height <= 0) return emptyPatch(hw);
  const data = new Uint8Array(width * height);
  const crossings: number[][] = Array.from({ length: height }, () => []);
  for (const ring of usable) {
    ring.forEach((b, i) => cross(ring[(i || ring.length) - 1], b, y, crossings));
  }
  crossings.forEach((places, row) => {
    places.sort((a, b) => a - b);
    for (let i = 0; i + 1 < places.length; i += 2) {
      const from = Math.max(0, Math.ceil(places[i] - 0.5) - x);
      const to = Math.min(width, Math.ceil(places[i + 1] - 0.5) - x);
      if (to > from) data.fill(1, row * width + from, row * width + to);
    }
  });
  return { hw, x, y, width, height, data };
}

const lowest = (values: number[]) => values.reduce((a, b) => Math.min(a, b), Infinity);
const highest = (values: number[]) => values.reduce((a, b) => Math.max(a, b), -Infinity);

/** Where an edge crosses the middles of the rows from `top` on. */
function cross(a: XY, b: XY, top: number, crossings: number[][]): void {
  if (a[1] === b[1]) return;
  const [low, high] = a[1] < b[1] ? [a, b] : [b, a];
  const first = Math.max(0, Math.ceil(low[1] - 0.5) - top);
  const last = Math.min(crossings.length, Math.ceil(high[1] - 0.5) - top);
  const slope = (high[0] - low[0]) / (high[1] - low[1]);
  for (let row = first; row < last; row++) {
    crossings[row].push(low[0] + (row + top + 0.5 - low[1]) * slope);
  }
}
