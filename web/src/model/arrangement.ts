/**
 * Which of the masks that were found are shown, as `segment/prediction.py` chooses them.
 *
 * Of two masks that overlap much, and of two of which one lies in the other, the better one stays.
 */

import type { Patch } from "../masks/patch";

export interface CutMask {
  patch: Patch;
  area: number;
  score: number;
}

export const DUPLICATE = 0.4; // IoU from which two masks are one
const CONTAINED = 0.9; // share of the smaller one that lies in the other
const SURROUNDING = 0.3; // of the image: a larger mask is what objects lie in, and no rival
const NEARLY_BEST = 0.8; // of the best score
const LITTLE = 0.1; // IoU

type ShareOf = "union" | "smaller";

/** Those above a score, none in a better one, or the best where there is none; and the rest. */
export function parted<T extends CutMask>(found: T[], score: number): { shown: T[]; others: T[] } {
  const good = withoutContained(found.filter((one) => one.score > score || !score));
  const shown = good.length ? good : bestOf(found);
  return { shown, others: found.filter((one) => !shown.includes(one)) };
}

/** Of two masks that overlap by a larger share, the one of higher score; in their order. */
export function withoutOverlaps<T extends CutMask>(found: T[], most: number, of: ShareOf): T[] {
  const kept = new Set<T>();
  for (const one of [...found].sort((a, b) => b.score - a.score)) {
    if ([...kept].every((other) => !overlaps(one, other, most, of))) kept.add(one);
  }
  return found.filter((one) => kept.has(one));
}

function withoutContained<T extends CutMask>(found: T[]): T[] {
  const around = ({ area, patch: { hw } }: T) => area / (hw[0] * hw[1]) > SURROUNDING;
  const objects = found.filter((one) => !around(one));
  const kept = new Set(withoutOverlaps(objects, CONTAINED, "smaller"));
  return found.filter((one) => around(one) || kept.has(one));
}

function bestOf<T extends CutMask>(found: T[]): T[] {
  const most = Math.max(0, ...found.map((one) => one.score));
  const good = found.filter((one) => one.score >= NEARLY_BEST * most);
  return withoutOverlaps(good, LITTLE, "union");
}

function overlaps(one: CutMask, other: CutMask, most: number, of: ShareOf): boolean {
  const whole = (common: number) =>
    Math.max(1, of === "union" ? one.area + other.area - common : Math.min(one.area, other.area));
  const possible = Math.min(one.area, other.area, sharedBox(one.patch, other.patch));
  if (possible / whole(possible) <= most) return false; // whatever their pixels are
  const common = commonArea(one.patch, other.patch);
  return common / whole(common) > most;
}

function sharedBox(a: Patch, b: Patch): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return Math.max(0, width) * Math.max(0, height);
}

function commonArea(a: Patch, b: Patch): number {
  const [left, top] = [Math.max(a.x, b.x), Math.max(a.y, b.y)];
  const right = Math.min(a.x + a.width, b.x + b.width);
  const bottom = Math.min(a.y + a.height, b.y + b.height);
  let common = 0;
  for (let y = top; y < bottom; y++) {
    let inA = (y - a.y) * a.width + left - a.x;
    let inB = (y - b.y) * b.width + left - b.x;
    for (let x = left; x < right; x++) common += a.data[inA++] & b.data[inB++];
  }
  return common;
}
