/** Masks without small holes and islands (`clean_except_clicked` of `segment/prediction.py`). */

import { patchArea, type Patch } from "../masks/patch";
import type { Size } from "./geometry";
import type { Click } from "./negative_clicks";
import type { LeastAreas } from "./region_size";
import { largestOf, regions, sizesOf } from "./regions";

/** The mask without holes and islands of less; a click keeps its own. Pixels are the patch's. */
export function withoutCrumbs(
  patch: Patch,
  clicks: readonly Click[],
  { holes, islands }: LeastAreas,
): Patch {
  const { width, height, data: before } = patch;
  const area = patchArea(patch);
  const data = before.slice();
  for (const [label, { pixels, share }] of [holes, islands].entries()) {
    const least = pixels + share * area;
    if (!least) continue;
    flipSmall(data, [height, width], least, label === 1);
  }
  if (!clicks.length) return { ...patch, data };
  const places = clicks
    .map((click) => ({
      ...click,
      x: Math.floor(click.x) - patch.x,
      y: Math.floor(click.y) - patch.y,
    }))
    .filter(({ x, y }) => x >= 0 && y >= 0 && x < width && y < height);
  const lost = places.filter(({ x, y, label }) => {
    const at = y * width + x;
    return before[at] === label && data[at] !== label;
  });
  if (!lost.length) return { ...patch, data };
  const changed = regions(
    data.map((pixel, i) => pixel ^ before[i]),
    height,
    width,
  );
  const spared = new Set(lost.map(({ x, y }) => changed[y * width + x]));
  changed.forEach((one, i) => {
    if (spared.has(one)) data[i] = before[i];
  });
  return { ...patch, data };
}

/**
 * Take the islands of less than an area away, never the largest, or fill the holes, none at the
 * border. Plain loops: of everything in an image there are many masks, of many pixels each.
 */
function flipSmall(mask: Uint8Array, [height, width]: Size, area: number, islands: boolean): void {
  const labels = regions(islands ? mask : inverted(mask), height, width);
  const sizes = sizesOf(labels);
  const kept = new Set([0]);
  if (islands) {
    kept.add(largestOf(sizes));
  } else {
    for (let x = 0; x < width; x++) kept.add(labels[x]).add(labels[labels.length - width + x]);
    for (let y = 0; y < height; y++) kept.add(labels[y * width]).add(labels[(y + 1) * width - 1]);
  }
  const small = Uint8Array.from(sizes, (size, one) => (size < area && !kept.has(one) ? 1 : 0));
  if (!small.includes(1)) return;
  for (let i = 0; i < mask.length; i++) mask[i] ^= small[labels[i]];
}

function inverted(mask: Uint8Array): Uint8Array {
  const out = new Uint8Array(mask.length);
  for (let i = 0; i < mask.length; i++) out[i] = 1 - mask[i];
  return out;
}
