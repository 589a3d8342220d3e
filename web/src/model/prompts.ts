/** What the user means, in image pixels, and what a decoder takes (`models/rules/registry.py`). */

import type { Patch } from "../masks/patch";
import { CORNERS, NO_POINT } from "./families/family";
import { scaleXy, type BoxXyxy, type Geometry } from "./geometry";
import type { Click } from "./negative_clicks";
import { patchToModel } from "./logits";
import type { Spec } from "./manifest";
import type { Previous } from "./steps";

export interface Prompt {
  clicks: readonly Click[];
  box: BoxXyxy | null;
  mask: Patch | null; // a start, for example what a lasso encloses
  previous?: Previous | null; // counts in place of the mask
}

export interface Tokens {
  coords: Float32Array; // (P, 2) in model pixels
  labels: number[]; // (P,)
  mask: Float32Array; // (m, m)
  hasMask: number;
}

/** What the model cannot take of a prompt, in words, or nothing. */
export function refusal(prompt: Prompt, spec: Spec): string | null {
  const points = prompt.clicks.length + (prompt.box ? 2 : 0);
  const kinds: [string, boolean, string][] = [
    ["point", prompt.clicks.some((click) => click.label === 1), "foreground points"],
    ["negative_point", prompt.clicks.some((click) => click.label === 0), "background points"],
    ["box", prompt.box !== null, "boxes"],
    ["mask", prompt.mask !== null, "mask prompts"],
  ];
  const refused = kinds.filter(([kind, given]) => given && !spec.accepts.includes(kind));
  if (refused.length) {
    return `${spec.name} does not support ${refused.map((kind) => kind[2]).join(" or ")}.`;
  }
  if (spec.fixed_points && points > spec.fixed_points) {
    return `${spec.name} supports at most ${spec.fixed_points} points. A box counts as two points.`;
  }
  return null;
}

/**
 * Clicks, then box corners, then "no point" where the family's reference code puts it.
 *
 * logits  (m, m) that the clicks correct; without them those of the start mask
 */
export function tokensOf(
  prompt: Prompt,
  geometry: Geometry,
  spec: Spec,
  logits: Float32Array | null = null,
): Tokens {
  const [scaleX, scaleY] = scaleXy(geometry);
  const places = prompt.clicks.map((click) => [click.x, click.y]);
  const labels: number[] = prompt.clicks.map((click) => click.label);
  if (prompt.box) {
    const [height, width] = geometry.imageHw;
    const [x0, y0, x1, y1] = prompt.box;
    places.push([Math.max(0, x0), Math.max(0, y0)], [Math.min(width, x1), Math.min(height, y1)]);
    labels.push(...CORNERS);
  }
  let missing = spec.fixed_points - labels.length;
  if (!labels.length || (spec.pad_point && (!prompt.box || spec.pad_box)))
    missing = Math.max(missing, 1);
  const coords = new Float32Array(2 * (labels.length + Math.max(0, missing)));
  places.forEach(([x, y], i) => coords.set([x * scaleX, y * scaleY], 2 * i));
  for (; missing > 0; missing--) labels.push(NO_POINT);
  const start = logits ?? (prompt.mask && patchToModel(prompt.mask, geometry, spec.mask_side));
  const mask = start ?? new Float32Array(spec.mask_side ** 2);
  return { coords, labels, mask, hasMask: start ? 1 : 0 };
}
