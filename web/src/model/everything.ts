/**
 * Automatic masks: a grid of clicks, filtered by score, stability and duplicates.
 *
 * The filters of `segment/everything/filter.py` in a cheaper order: stability and boxes are taken
 * from the low-resolution logits, and only what stays is cut at the image's own size.
 */

import { patchArea, patchToRle } from "../masks/patch";
import { DUPLICATE, parted, withoutOverlaps, type CutMask } from "./arrangement";
import { rleBox, rleToCoco } from "../masks/rle";
import { withoutCrumbs } from "./crumbs";
import type { Answer } from "./families/family";
import type { BoxXyxy, Geometry, Size } from "./geometry";
import { cutLogits } from "./logits";
import type { Manifest } from "./manifest";
import type { Prompt } from "./prompts";
import { USUAL, type LeastAreas } from "./region_size";

export interface GridSettings {
  pointsPerSide: number;
  score: number; // masks must have more to be shown
  stability: number; // and at least this IoU between a stricter and a looser cut
  overlap: number; // of two masks whose boxes overlap more, the better one stays
  least: LeastAreas; // smaller holes are filled, smaller parts go
}

export const BATCH = 16; // clicks decoded at once

/** The model's own numbers; those of any score are found, as a slider chooses by it later. */
export function gridSettings({ grid }: Manifest, least = USUAL): GridSettings {
  return {
    pointsPerSide: 16,
    score: grid.pred_iou_thresh,
    stability: grid.stability_score_thresh,
    overlap: 0.7,
    least,
  };
}

/** n by n positive clicks, row by row, each at its cell's center. */
export function gridPrompts(n: number, [height, width]: Size): Prompt[] {
  return Array.from({ length: n * n }, (_, i) => {
    const x = (((i % n) + 0.5) / n) * width;
    const y = ((Math.floor(i / n) + 0.5) / n) * height;
    return { clicks: [{ x, y, label: 1 }], box: null, mask: null };
  });
}

export interface Found {
  logits: Float32Array;
  score: number;
  stability: number;
  box: BoxXyxy; // in low-resolution cells
  prompt: Prompt;
}

/** Which candidates of one click are stable. */
export function passing(
  prompt: Prompt,
  candidates: Answer[],
  threshold: number,
  settings: GridSettings,
): Found[] {
  return candidates.flatMap((answer) => {
    const found = measured(answer.logits, threshold);
    if (!found || found.stability < settings.stability || answer.score <= 0) return [];
    const logits = answer.logits.slice(); // the batch's memory is not kept
    return [{ ...found, logits, score: answer.score, prompt }];
  });
}

function measured(logits: Float32Array, threshold: number) {
  const side = Math.sqrt(logits.length);
  let [inner, outer, left, right, top, bottom] = [0, 0, side, -1, side, -1];
  for (let i = 0; i < logits.length; i++) {
    if (logits[i] > threshold + 1) inner++;
    if (logits[i] > threshold - 1) outer++;
    if (logits[i] <= threshold) continue;
    left = Math.min(left, i % side);
    right = Math.max(right, i % side);
    top = Math.min(top, Math.floor(i / side));
    bottom = Math.floor(i / side);
  }
  if (right < 0) return null;
  const box: BoxXyxy = [left, top, right + 1, bottom + 1];
  return { stability: inner / Math.max(1, outer), box };
}

/** Greedy suppression on the boxes, the highest score first. */
export function withoutDuplicates(found: Found[], overlap: number): Found[] {
  const kept: Found[] = [];
  for (const one of [...found].sort((a, b) => b.score - a.score)) {
    if (kept.every((other) => boxIou(one.box, other.box) <= overlap)) kept.push(one);
  }
  return kept;
}

function boxIou(a: BoxXyxy, b: BoxXyxy): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const common = Math.max(0, width) * Math.max(0, height);
  const area = (box: BoxXyxy) => (box[2] - box[0]) * (box[3] - box[1]);
  return common / (area(a) + area(b) - common);
}

/** The masks in the image: those that are shown, and those that a slider may still want. */
export function toProposals(
  found: Found[],
  geometry: Geometry,
  threshold: number,
  { score, least }: GridSettings,
): Proposals {
  const cut = found.map((one) => {
    const drawn = cutLogits(one.logits, geometry, threshold).patch;
    const patch = withoutCrumbs(drawn, [], least); // shares, too, in pixels, as Python's
    return { ...one, patch, area: patchArea(patch) };
  });
  const { shown, others } = parted(withoutOverlaps(cut, DUPLICATE, "union"), score);
  return { shown: shown.map(toProposal), others: others.map(toProposal) };
}

function toProposal({ patch, area, score, stability, prompt }: Found & CutMask) {
  const rle = patchToRle(patch);
  return {
    rle: rleToCoco(rle),
    box: rleBox(rle),
    area,
    score,
    stability,
    points: prompt.clicks.map((click) => [click.x, click.y]),
  };
}

export type Proposal = ReturnType<typeof toProposal>;

export interface Proposals {
  shown: Proposal[];
  others: Proposal[];
}
