/** What is said of the objects of a video, and what of it a reload brings back. */

import type { Prompt } from "../store/videos";
import type { Way } from "./tracks";

export interface VideoObject {
  number: number;
  name: string;
  colour: string; // #rrggbb
}

/** One thing that was said of an object on a frame. */
export interface Said {
  object: number;
  frame: number;
  point: [x: number, y: number, label: 0 | 1] | null;
  box: number[] | null;
}

export type Direction = Way | "both";
export type VideoTool = "point" | "box" | "pan";

/** What a reload brings back. */
export interface KeptVideo {
  name: string;
  title: string;
  objects: VideoObject[];
  said: Said[];
  frame: number;
  chosen: number;
  clip: number | null; // of the project
}

export const waysOf = (direction: Direction): Way[] =>
  direction === "both" ? ["forward", "backward"] : [direction];

/** All that was said of an object on a frame, as one prompt. */
export function promptOf(said: readonly Said[], object: number, frame: number): Prompt | null {
  const here = said.filter((one) => one.object === object && one.frame === frame);
  if (!here.length) return null;
  const points = here.flatMap(({ point }) => (point ? [point] : []));
  return {
    frame,
    object,
    points: points.length ? points.map(([x, y]) => [x, y]) : null,
    labels: points.length ? points.map(([, , label]) => label) : null,
    box: here.findLast(({ box }) => box)?.box ?? null,
  };
}
