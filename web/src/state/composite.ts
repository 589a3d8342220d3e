/** Three channels as red, green and blue, each between two of its values. */

export type Range = readonly [low: number, high: number];

export interface Composite {
  bands: number[]; // of red, green and blue, counted from 1; 0 is black
  ranges: (Range | null)[]; // null: as the type of the numbers says
}

/** The first three channels. */
export function firstComposite(channels: number): Composite {
  const bands = [1, 2, 3].map((band) => (band <= channels ? band : 0));
  return { bands, ranges: [null, null, null] };
}

/** As a server is asked for it, which is its name as a look at a photo. */
export function compositeToQuery({ bands, ranges }: Composite): string {
  const given = ranges.some((range) => range);
  const values = ranges.map((range) => range?.join(":") ?? ":").join(",");
  return `bands=${bands.join(",")}${given ? `&ranges=${values}` : ""}`;
}

export function queryToComposite(query: string): Composite {
  const said = new URLSearchParams(query);
  const ranges = (said.get("ranges") ?? ":,:,:").split(",").map((text) => {
    const [low, high] = text.split(":");
    return low === "" ? null : ([Number(low), Number(high)] as const);
  });
  return { bands: said.get("bands")!.split(",").map(Number), ranges };
}

/** Whether a photo of so many channels can be looked at so. */
export function fits(query: string, channels: number): boolean {
  const { bands } = queryToComposite(query);
  return channels > 1 && bands.every((band) => band <= channels);
}
