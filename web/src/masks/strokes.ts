/** Brush and eraser: discs along a line, painted into a mask's window. */

import type { XY } from "../model/geometry";
import { grown, type Patch } from "./patch";

export interface Stroke {
  value: 0 | 1; // 1 paints, 0 erases
  radius: number; // in pixels of the image
  points: readonly XY[];
}

/** A new patch with the stroke in it; the old one stays as it is. */
export function withStroke(patch: Patch, stroke: Stroke): Patch {
  const { radius, points, value } = stroke;
  const xs = points.map((point) => point[0]);
  const ys = points.map((point) => point[1]);
  const reach = Math.ceil(radius) + 1;
  const bounds = [
    Math.floor(Math.min(...xs)) - reach,
    Math.floor(Math.min(...ys)) - reach,
    Math.ceil(Math.max(...xs)) + reach,
    Math.ceil(Math.max(...ys)) + reach,
  ] as const;
  const out = value ? grown(patch, ...bounds) : { ...patch, data: patch.data.slice() };
  points.forEach((point, i) => capsule(out, points[Math.max(0, i - 1)], point, radius, value));
  return out;
}

/** Every pixel whose center is at most `radius` from the line between two points. */
function capsule(patch: Patch, a: XY, b: XY, radius: number, value: number): void {
  const reach = Math.max(radius, 0.5);
  const top = Math.max(patch.y, Math.floor(Math.min(a[1], b[1]) - reach));
  const bottom = Math.min(patch.y + patch.height, Math.ceil(Math.max(a[1], b[1]) + reach));
  const left = Math.max(patch.x, Math.floor(Math.min(a[0], b[0]) - reach));
  const right = Math.min(patch.x + patch.width, Math.ceil(Math.max(a[0], b[0]) + reach));
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const [px, py] = [x + 0.5 - a[0], y + 0.5 - a[1]];
      const t = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
      if ((px - t * dx) ** 2 + (py - t * dy) ** 2 <= reach * reach) {
        patch.data[(y - patch.y) * patch.width + x - patch.x] = value;
      }
    }
  }
}
