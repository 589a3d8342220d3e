/** A mask with fewer corners: its outlines simplified and filled again. */

import { fillRings, ringArea, simplified, withoutStairs, type Ring } from "./outline";
import { grown, patchArea, type Patch } from "./patch";

/** A mask, and the outlines that it was filled from. */
export interface Simple {
  patch: Patch;
  rings: readonly Ring[];
}

/**
 * The mask with outlines of which no point was moved farther than `tolerance` pixels, and half a
 * pixel for its stairs; at 0 it stays as it is, pixel for pixel. Parts and holes that are too small
 * for that stay, and so does a mask of which no pixel would be left.
 *
 * traced  its rings, as `tracePatch` gives them
 */
export function simplifiedMask(patch: Patch, traced: readonly Ring[], tolerance: number): Simple {
  if (!(tolerance > 0)) return { patch, rings: traced };
  const rings = traced.map((ring) => simplified(withoutStairs(ring), tolerance));
  const made = filled(patch, traced, rings);
  return patchArea(made) ? { patch: made, rings } : { patch, rings: traced };
}

/**
 * Outer rings fill and holes clear, the larger ones first: where a simplified hole reaches over
 * the outline around it, nothing is filled beyond, as even-odd filling would.
 */
function filled({ hw, ...was }: Patch, traced: readonly Ring[], rings: readonly Ring[]): Patch {
  const areas = traced.map(ringArea);
  const order = areas.map((_, i) => i).sort((a, b) => Math.abs(areas[b]) - Math.abs(areas[a]));
  const { x, y, width, height } = was;
  const reach = 1; // smooth outlines stay within the traced ones, but for rounding
  const empty = { hw, ...was, data: new Uint8Array(width * height) };
  const out = grown(empty, x - reach, y - reach, x + width + reach, y + height + reach);
  for (const i of order) put(out, fillRings([rings[i]], hw), areas[i] > 0 ? 1 : 0);
  return out;
}

/** Set the pixels of a part; it lies in the window, or is cut at it. */
function put(out: Patch, part: Patch, value: 0 | 1): void {
  for (let row = 0; row < part.height; row++) {
    const y = part.y + row - out.y;
    if (y < 0 || y >= out.height) continue;
    for (let column = 0; column < part.width; column++) {
      const x = part.x + column - out.x;
      const inside = part.data[row * part.width + column] && x >= 0 && x < out.width;
      if (inside) out.data[y * out.width + x] = value;
    }
  }
}
