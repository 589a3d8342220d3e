/** What the fixtures hold, as the page has it. */

import type { BoxXyxy, Size } from "../src/model/geometry";
import type { Click } from "../src/model/negative_clicks";
import type { Prompt } from "../src/model/prompts";
import type { Pixels } from "../src/model/resample";

export type Asked = { points?: number[][]; labels?: number[]; box?: number[] };

export const clicksOf = ({ points = [], labels = [] }: Asked, scale = 1): Click[] =>
  points.map(([x, y], i) => ({ x: x * scale, y: y * scale, label: labels[i] as 0 | 1 }));

export function promptOf(asked: Asked, scale = 1): Prompt {
  const box = (asked.box?.map((n) => n * scale) as BoxXyxy) ?? null;
  return { clicks: clicksOf(asked, scale), box, mask: null };
}

/** Waves of straight lines, as `striped` makes them. */
export function striped([height, width]: Size): Pixels {
  const data = new Uint8ClampedArray(height * width * 4);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      for (let c = 0; c < 3; c++) {
        data[at + c] = Math.abs((((3 + c) * x + (7 - 2 * c) * y) % 510) - 255);
      }
    }
  }
  return { data, width, height };
}
