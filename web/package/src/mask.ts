/** A window of pixels -> a mask over the whole image, as arrays, images and outlines. */

import { patchArea, patchHas, trimmed, type Patch } from "../../src/masks/patch";
import {
  ringArea,
  simplified,
  tracePatch,
  withoutStairs,
  type Ring,
} from "../../src/masks/outline";
import { isNumbers, wrong } from "./keys";
import type { Box, Color, Mask, Outline, XY } from "../index";

const WHITE: Color = [255, 255, 255, 255];

export class PatchMask implements Mask {
  readonly area: number;

  constructor(
    private readonly patch: Patch,
    readonly score: number,
  ) {
    this.area = patchArea(patch);
  }

  get width(): number {
    return this.patch.hw[1];
  }

  get height(): number {
    return this.patch.hw[0];
  }

  get box(): Box | null {
    const { x, y, width, height } = trimmed(this.patch);
    return width ? [x, y, x + width, y + height] : null;
  }

  has(x: number, y: number): boolean {
    return patchHas(this.patch, Math.floor(x), Math.floor(y));
  }

  toArray(): Uint8Array {
    const { x, y, width, height, data } = this.patch;
    const out = new Uint8Array(this.width * this.height);
    for (let row = 0; row < height; row++) {
      const part = data.subarray(row * width, (row + 1) * width);
      out.set(part, (y + row) * this.width + x);
    }
    return out;
  }

  toImageData(color: Color = WHITE): ImageData {
    if (!isNumbers(color, 4))
      throw wrong("The color must be [red, green, blue, alpha], each 0 to 255.", color);
    const pixels = new Uint8ClampedArray(4 * this.width * this.height);
    this.toArray().forEach((inside, at) => inside && pixels.set(color, 4 * at));
    return new ImageData(pixels, this.width, this.height);
  }

  polygons(tolerance = 0): Outline[] {
    return ringsToOutlines(tracePatch(this.patch), tolerance);
  }
}

/** Exteriors run clockwise on the screen, holes against it; each hole goes to the region around. */
function ringsToOutlines(rings: Ring[], tolerance: number): Outline[] {
  const outer = rings
    .filter((ring) => ringArea(ring) > 0)
    .sort((a, b) => ringArea(a) - ringArea(b));
  const outlines = outer.map((ring): Outline => ({ exterior: cut(ring, tolerance), holes: [] }));
  for (const hole of rings.filter((ring) => ringArea(ring) < 0)) {
    const around = outer.findIndex(
      (ring) => ringArea(ring) > -ringArea(hole) && encloses(ring, middleOf(hole)),
    );
    if (around >= 0) outlines[around].holes.push(cut(hole, tolerance));
  }
  return outlines;
}

function cut(ring: Ring, tolerance: number): XY[] {
  return (tolerance > 0 ? simplified(withoutStairs(ring), tolerance) : ring).map(([x, y]) => [
    x,
    y,
  ]);
}

/** The middle of the pixel off the mask that touches the first edge of a hole. */
function middleOf([[x0, y0], [x1, y1]]: Ring): XY {
  const [stepX, stepY] = [Math.sign(x1 - x0), Math.sign(y1 - y0)];
  return [x0 + (stepX + stepY) / 2, y0 + (stepY - stepX) / 2];
}

/** Even-odd, along a level line. */
function encloses(ring: Ring, [x, y]: XY): boolean {
  let inside = false;
  ring.forEach(([x0, y0], i) => {
    const [x1, y1] = ring[(i + 1) % ring.length];
    if (y0 > y !== y1 > y && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) inside = !inside;
  });
  return inside;
}
