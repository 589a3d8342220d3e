/**
 * The main subject without a prompt, as `edit/subject.py` finds it.
 *
 * A probe on the encoder's first map predicts for each cell whether it belongs to the subject.
 * Boxes around the likely cells, a click in their center and the cells themselves are prompts; of
 * their masks, the one with the highest agreement with the others is the subject.
 *
 * h w the cells that the image fills, C channels of the map, D numbers of a cell.
 */

import { patchArea, trimmed, type Patch } from "../masks/patch";
import type { Features } from "./features";
import { deepestCell } from "./families/nano-facts";
import { filledCells, reduced, taps } from "./geometry";
import type { BoxXyxy, Geometry, Size, XY } from "./geometry";
import { patchShares } from "./logits";
import type { Prompt } from "./prompts";
import { USUAL } from "./region_size";
import { regions } from "./regions";
import { shown, type Decoding, type Shown } from "./segment";

const LEVELS = [0.15, 0.25, 0.5, 0.7]; // of the map, for boxes
const CLICKED = 0.5; // the level that also gets a click and a mask
const LONGEST = 1024; // pixels a side of the map and of the masks that are compared

/** A model's subject.json. */
export interface SubjectProbe {
  weights_hash: string;
  weights: number[]; // (D,)
  offset: number;
  least: number; // agreement of mask and map of a clear subject
}

/** A plane of numbers, row by row. */
export interface Plane {
  hw: Size;
  values: Float32Array;
}

/** How likely each cell belongs to the main subject, 0 to 1. */
export function subjectMap({ maps, geometry }: Features, probe: SubjectProbe): Plane {
  const [channels, rows, columns] = maps[0].shape;
  const hw = filledCells(geometry, columns);
  const [h, w] = hw;
  const plane = rows * columns;
  const at = (channel: number, y: number, x: number) =>
    maps[0].data[channel * plane + y * columns + x];
  const border = Float32Array.from({ length: channels }, (_, channel) => {
    let sum = 0;
    for (let x = 0; x < w; x++) sum += at(channel, 0, x) + at(channel, h - 1, x);
    for (let y = 0; y < h; y++) sum += at(channel, y, 0) + at(channel, y, w - 1);
    return sum / (2 * (h + w));
  });
  const length = Math.hypot(...border);
  const { weights, offset } = probe;
  const values = Float32Array.from({ length: h * w }, (_, cell) => {
    const [row, column] = [Math.floor(cell / w), cell % w];
    let [sum, common, square] = [offset, 0, 0];
    for (let channel = 0; channel < channels; channel++) {
      const value = at(channel, row, column);
      const away = value - border[channel];
      sum += value * weights[channel] + away * weights[channels + channel];
      sum += Math.abs(away) * weights[2 * channels + channel];
      common += value * border[channel];
      square += value * value;
    }
    const [y, x] = [((row + 0.5) / h) * 2 - 1, ((column + 0.5) / w) * 2 - 1];
    const alike = common / (Math.sqrt(square) * length + 1e-6);
    const place = [alike, x * x, y * y, Math.hypot(x, y), Math.abs(x), y];
    place.forEach((number, i) => (sum += number * weights[3 * channels + i]));
    return 1 / (1 + Math.exp(-Math.min(30, Math.max(-30, sum))));
  });
  return { hw, values };
}

/** The subject's mask, its score the best agreement of any mask with the map; null: no prompt. */
export async function bestCandidate(
  { geometry }: Features,
  likely: Plane,
  asked: Decoding,
  answersTo: (prompt: Prompt) => Promise<Shown[]>,
): Promise<{ patch: Patch; score: number } | null> {
  const found: { answer: Shown; prompt: Prompt; shares: Float32Array }[] = [];
  for (const prompt of subjectPrompts(likely, geometry)) {
    const answers = await answersTo(prompt);
    const { candidates } = shown(answers, prompt, asked, USUAL, LONGEST);
    candidates.forEach(({ patch }, i) =>
      found.push({ answer: answers[i], prompt, shares: patchShares(patch, likely.hw) }),
    );
  }
  if (!found.length) return null;
  const shares = found.map((one) => one.shares);
  const scores = found.map(({ answer }) => answer.score);
  const { answer, prompt } = found[bestOf(shares, scores)];
  const [{ patch }] = shown([answer], prompt, asked, USUAL, 0).candidates;
  return { patch, score: Math.max(...shares.map((one) => agreement(one, likely.values))) };
}

/** Index of the mask with the highest agreement with all, weighted by its score. */
export function bestOf(shares: readonly Float32Array[], scores: readonly number[]): number {
  const worth = shares.map(
    (one, i) =>
      shares.reduce((sum, other) => sum + agreement(one, other), 0) *
      Math.min(1, Math.max(0.01, scores[i])),
  );
  return worth.indexOf(Math.max(...worth));
}

/** Prompts at several levels: boxes around likely pixels, a click in their center, a mask. */
export function subjectPrompts(likely: Plane, geometry: Geometry): Prompt[] {
  const hw = reduced(geometry, LONGEST).imageHw;
  const scale: XY = [geometry.imageHw[1] / hw[1], geometry.imageHw[0] / hw[0]];
  const large = enlarged(likely, hw);
  return LEVELS.flatMap((level) => {
    const all = wholePatch(hw, (at) => large[at] > level);
    if (!patchArea(all)) return [];
    const labels = regions(all.data, ...hw);
    const most = heaviest(labels, large);
    const largest = trimmed(wholePatch(hw, (at) => labels[at] === most));
    const box = scaled(boxOf(largest), scale);
    const boxes = [box, scaled(boxOf(trimmed(all)), scale)].map((one) => asking([], one));
    if (level !== CLICKED) return boxes;
    const click = middleOf(largest, scale);
    return [...boxes, asking([click]), asking([click], box), { ...asking([]), mask: all }];
  });
}

function asking(clicks: XY[], box: BoxXyxy | null = null): Prompt {
  return { clicks: clicks.map(([x, y]) => ({ x, y, label: 1 })), box, mask: null };
}

function boxOf({ x, y, width, height }: Patch): BoxXyxy {
  return [x, y, x + width, y + height];
}

function scaled([x0, y0, x1, y1]: BoxXyxy, [across, down]: XY): BoxXyxy {
  return [x0 * across, y0 * down, x1 * across, y1 * down];
}

/** The deepest pixel of a mask, in pixels of the image. */
function middleOf({ x, y, width, height, data }: Patch, [across, down]: XY): XY {
  const side = Math.max(width, height);
  const plane = new Float32Array(side * side);
  for (let row = 0; row < height; row++)
    plane.set(data.subarray(row * width, (row + 1) * width), row * side);
  const [column, row] = deepestCell(plane, side, 0)!;
  return [(x + column) * across, (y + row) * down];
}

function wholePatch(hw: Size, inside: (at: number) => boolean): Patch {
  const data = Uint8Array.from({ length: hw[0] * hw[1] }, (_, at) => Number(inside(at)));
  return { hw, x: 0, y: 0, height: hw[0], width: hw[1], data };
}

/** The region with the largest sum of the map. */
function heaviest(labels: Int32Array, map: Float32Array): number {
  const mass: number[] = [0];
  labels.forEach((label, at) => label && (mass[label] = (mass[label] ?? 0) + map[at]));
  return mass.indexOf(Math.max(...mass));
}

/** The map over the image, bilinear with half-pixel centers. */
function enlarged({ hw: [h, w], values }: Plane, [height, width]: Size): Float32Array {
  const [down, across] = [taps(h, height), taps(w, width)];
  const next = (first: number, count: number) => Math.min(first + 1, count - 1);
  const out = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const [above, below] = [down.first[y] * w, next(down.first[y], h) * w];
    for (let x = 0; x < width; x++) {
      const [left, right] = [across.first[x], next(across.first[x], w)];
      const mixed = (row: number) =>
        values[row + left] + across.weight[x] * (values[row + right] - values[row + left]);
      const top = mixed(above);
      out[y * width + x] = top + down.weight[y] * (mixed(below) - top);
    }
  }
  return out;
}

/** Soft IoU of two planes; 0 if both are empty. */
export function agreement(one: Float32Array, other: Float32Array): number {
  let [common, union] = [0, 0];
  for (let i = 0; i < one.length; i++) {
    common += Math.min(one[i], other[i]);
    union += Math.max(one[i], other[i]);
  }
  return union ? common / union : 0;
}
