/** A colour for each mask: its name's where it has one, else by its place. */

import type { Mask } from "../state/work";

export type Rgb = [red: number, green: number, blue: number];
export type Palette = (label: string) => Rgb;

const GOLDEN = 137.508; // degrees: neighbouring numbers get distant hues

export function maskColour(mask: Mask, place: number, palette: Palette): Rgb {
  return mask.label === null ? nthColour(place) : palette(mask.label);
}

/** The row of colours; the server's names take theirs from it too (studio/labels.py). */
export function nthColour(number: number): Rgb {
  const hue = (number * GOLDEN) % 360;
  const [saturation, lightness] = [0.82, 0.6];
  const reach = saturation * Math.min(lightness, 1 - lightness);
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** The first colour of the row that no other name has. */
export function freeColour(taken: readonly string[]): string {
  let number = 0;
  while (taken.includes(toHex(nthColour(number)))) number++;
  return toHex(nthColour(number));
}

export const toHex = (colour: Rgb) =>
  `#${colour.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;

export function fromHex(text: string): Rgb {
  const value = parseInt(text.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

export const css = ([r, g, b]: Rgb, alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;

/** As a little-endian pixel of an ImageData. */
export const packed = ([r, g, b]: Rgb, alpha: number) =>
  ((Math.round(alpha * 255) << 24) | (b << 16) | (g << 8) | r) >>> 0;
