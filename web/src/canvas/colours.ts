/** A colour for each mask: by its label where it has one, else by its place. */

import type { Mask } from "../state/work";

export type Rgb = [red: number, green: number, blue: number];

const GOLDEN = 137.508; // degrees: neighbouring numbers get distant hues

export function maskColour(mask: Mask, place: number): Rgb {
  if (mask.label === null) return fromHue((place * GOLDEN) % 360);
  return labelColour(mask.label);
}

export function labelColour(label: string): Rgb {
  let hash = 2166136261;
  for (const letter of label) hash = Math.imul(hash ^ letter.codePointAt(0)!, 16777619);
  return fromHue((((hash >>> 0) % 997) * GOLDEN) % 360);
}

function fromHue(hue: number): Rgb {
  const [saturation, lightness] = [0.82, 0.6];
  const reach = saturation * Math.min(lightness, 1 - lightness);
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

export const css = ([r, g, b]: Rgb, alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;

/** As a little-endian pixel of an ImageData. */
export const packed = ([r, g, b]: Rgb, alpha: number) =>
  ((Math.round(alpha * 255) << 24) | (b << 16) | (g << 8) | r) >>> 0;
