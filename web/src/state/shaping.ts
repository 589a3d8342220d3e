/** Masks of another shape than they were: cut, and made room for. */

import { rleArea, rleBox, rleCombine, type BoxXywh, type Rle } from "../masks/rle";
import type { Mask } from "./work";

/** The mask with another shape, whose score nobody knows. */
export function shaped(mask: Mask, rle: Rle, key = mask.key): Mask {
  const provenance = { ...mask.provenance, by: "human", drawn: true };
  return { ...mask, key, rle, box: rleBox(rle), area: rleArea(rle), score: null, provenance };
}

/**
 * The masks without the pixels that `over` have, the first of them before the others.
 *
 * Only accepted masks give pixels, and of these not: locked and hidden ones, those that somebody
 * has put above, and those that would have none left.
 */
export function withoutOverlap(masks: readonly Mask[], over: readonly Mask[]): readonly Mask[] {
  const now = new Map(masks.map((mask) => [mask.key, mask]));
  const done = new Set<string>();
  for (const { key } of over) {
    const top = now.get(key);
    done.add(key);
    for (const mask of top ? now.values() : []) {
      if (!done.has(mask.key) && gives(mask, top!)) now.set(mask.key, cut(mask, top!));
    }
  }
  return [...now.values()];
}

function gives(mask: Mask, top: Mask): boolean {
  const { locked, hidden, level = 0 } = mask.notes ?? {};
  const beneath = level <= (top.notes?.level ?? 0);
  const meets = mask.state === "accepted" && touching(mask.box, top.box);
  return meets && beneath && !locked && !hidden;
}

function cut(mask: Mask, top: Mask): Mask {
  const rle = rleCombine(mask.rle, top.rle, "minus");
  const left = rleArea(rle);
  return left && left < mask.area ? shaped(mask, rle) : mask;
}

const touching = ([x, y, width, height]: BoxXywh, [u, v, wide, high]: BoxXywh) =>
  x < u + wide && u < x + width && y < v + high && v < y + height;
