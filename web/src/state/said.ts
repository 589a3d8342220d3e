/** What is said of the objects of a video, and what of it a reload brings back. */

import type { CocoRle } from "../masks/rle";
import type { Prompt } from "../store/videos";
import type { Way } from "./tracks";

export interface VideoObject {
  number: number;
  name: string;
  color: string; // #rrggbb
}

/** One thing that was said of an object on a frame. */
export interface Said {
  object: number;
  frame: number;
  point: [x: number, y: number, label: 0 | 1] | null;
  box: number[] | null;
  mask: CocoRle | null; // in place of the one that was there
}

export type Direction = Way | "both";
export type VideoTool = "point" | "box" | "window" | "pan";

/** What a reload brings back. */
export interface KeptVideo {
  name: string;
  title: string;
  objects: VideoObject[];
  said: Said[];
  frame: number;
  chosen: number;
  clip: number | null; // of the project
  scan?: { axis: number; at: number[]; window: [level: number, width: number] };
}

export const waysOf = (direction: Direction): Way[] =>
  direction === "both" ? ["forward", "backward"] : [direction];

/** All that was said of an object on a frame, since its last mask, as one prompt. */
export function promptOf(said: readonly Said[], object: number, frame: number): Prompt | null {
  const all = said.filter((one) => one.object === object && one.frame === frame);
  if (!all.length) return null;
  const last = all.findLast(({ mask }) => mask);
  const here = last ? all.slice(all.indexOf(last)) : all;
  const points = here.flatMap(({ point }) => (point ? [point] : []));
  return {
    frame,
    object,
    points: points.length ? points.map(([x, y]) => [x, y]) : null,
    labels: points.length ? points.map(([, , label]) => label) : null,
    box: here.findLast(({ box }) => box)?.box ?? null,
    mask: last?.mask ?? null,
  };
}
