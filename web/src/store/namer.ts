/** The server's network of names: masks of a photo that it has seen in, their names out. */

import type { CocoRle } from "../masks/rle";
import type { Server } from "./server";

export interface Suggestion {
  label: string;
  probability: number;
}

/** Of each mask its names, the likeliest first; `among`: chosen among those that were wished. */
export interface Named {
  suggestions: Suggestion[][];
  among: boolean;
}

/** image: the photo's hash; names: to choose from, known or explained (none: all). */
export interface NameWish {
  image: string;
  masks: CocoRle[];
  names: readonly string[];
  top: number;
}

export class Namer {
  constructor(private readonly server: Server) {}

  async ask(wish: NameWish, signal: AbortSignal): Promise<Named> {
    const { names, ...rest } = wish;
    const body = names.length ? { ...rest, names, unknown: "examples" } : rest;
    const response = await this.server.ask("api/names", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
    return (await response.json()) as Named;
  }
}
