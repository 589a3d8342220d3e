/** A color for each mask: its name's where it has one, else by its place. */

import type { Mask } from "../state/work";

export type Rgb = [red: number, green: number, blue: number];
export type Palette = (label: string) => Rgb;

// Each color is as far as possible from those before it (CIE Lab), as in studio/labels.py.
const ROW = (
  "#3d8bff #0afa0a #fa0a0a #0aebdc #facd0a #fa0aaf #468219 #af6437 " +
  "#a037fa #faaffa #28fa91 #dc2855 #afeb37 #fa820a #ebdc82 #a055cd " +
  "#a0eba0 #be5582 #0aaffa #82730a #0aaf0a #0a9164 #fa0aeb #fa6446"
).split(" ");
const GOLDEN = 137.508; // degrees between the hues of further colors

export function maskColor(mask: Mask, place: number, palette: Palette): Rgb {
  return mask.label === null ? nthColor(place) : palette(mask.label);
}

/** The nth color; the server gives its classes the same ones (studio/labels.py). */
export function nthColor(number: number): Rgb {
  if (number < ROW.length) return fromHex(ROW[number]);
  const hue = (number * GOLDEN) % 360;
  const [saturation, lightness] = [0.82, 0.6];
  const reach = saturation * Math.min(lightness, 1 - lightness);
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** The first color of the row that no other name has. */
export function freeColor(taken: readonly string[]): string {
  let number = 0;
  while (taken.includes(toHex(nthColor(number)))) number++;
  return toHex(nthColor(number));
}

export const toHex = (color: Rgb) =>
  `#${color.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`;

export function fromHex(text: string): Rgb {
  const value = parseInt(text.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

export const css = ([r, g, b]: Rgb, alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;

/** As a little-endian pixel of an ImageData. */
export const packed = ([r, g, b]: Rgb, alpha: number) =>
  ((Math.round(alpha * 255) << 24) | (b << 16) | (g << 8) | r) >>> 0;
