/** Three channels as red, green and blue, each between two of its values; or one as gray. */

import type { Planes } from "../store/store";

export type Range = readonly [low: number, high: number];

export interface Composite {
  bands: number[]; // of red, green and blue, counted from 1; 0 is black
  ranges: (Range | null)[]; // of each; null: what the channel has
}

/** How many channels can be put together: those that have names, or the gray of a deep image. */
export function mixable({ channels, deep, colors }: Planes): number {
  return channels.length || (deep && colors ? 1 : 0);
}

/** The first three channels; a single one is gray. */
export function firstComposite(channels: number): Composite {
  const bands = channels === 1 ? [1, 1, 1] : [1, 2, channels > 2 ? 3 : 0];
  return { bands, ranges: [null, null, null] };
}

/** As a server is asked for it, which is its name as a look at an image. */
export function compositeToQuery({ bands, ranges }: Composite): string {
  const values = ranges.map((range) => range?.join(":") ?? ":").join(",");
  return `bands=${bands.join(",")}&ranges=${values}`;
}

export function queryToComposite(query: string): Composite {
  const said = new URLSearchParams(query);
  const ranges = said
    .get("ranges")!
    .split(",")
    .map((text) => {
      const [low, high] = text.split(":");
      return low === "" ? null : ([Number(low), Number(high)] as const);
    });
  return { bands: said.get("bands")!.split(",").map(Number), ranges };
}

/** Whether an image of so many channels can be looked at so. */
export function fits(query: string, channels: number): boolean {
  return channels > 0 && queryToComposite(query).bands.every((band) => band <= channels);
}
