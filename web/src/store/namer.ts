/** Who says what masks may be called: a server that has seen the image, or the page's own model. */

import { rleToCoco, type Rle } from "../masks/rle";
import type { Model } from "../model/client";
import type { Suggestion } from "../model/name_table";
import type { Server } from "./server";

/** Of each mask its names, the likeliest first; `among`: chosen among those that were wished. */
export interface Named {
  suggestions: Suggestion[][];
  among: boolean;
}

/** key, image: the model's and the server's name for the image; names: to choose from, or none. */
export interface NameWish {
  key: string;
  image: string;
  masks: readonly Rle[];
  names: readonly string[];
  top: number;
}

export interface Namer {
  ask(wish: NameWish, signal: AbortSignal): Promise<Named>;
}

/** A server; names that its model does not know are explained by masks that have them. */
export class ServerNamer implements Namer {
  constructor(private readonly server: Server) {}

  async ask({ image, masks, names, top }: NameWish, signal: AbortSignal): Promise<Named> {
    const wish = { image, masks: masks.map(rleToCoco), top };
    const body = names.length ? { ...wish, names, unknown: "examples" } : wish;
    const response = await this.server.ask("api/names", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
    return (await response.json()) as Named;
  }
}

/** The page's own model; names that it does not know are left out. */
export class PageNamer implements Namer {
  constructor(private readonly model: () => Model | null) {}

  async ask({ key, masks, names, top }: NameWish, signal: AbortSignal): Promise<Named> {
    const model = this.model();
    if (!model) throw new Error("No model is loaded.");
    const table = await model.nameTable();
    const known = names.filter((name) => table.knows(name));
    const chosen = table.chosen(known.length ? known : null);
    const vectors = await model.maskVectors(key, masks, signal);
    const suggestions = vectors.map((vector) => chosen.suggest(vector, top));
    return { suggestions, among: known.length > 0 };
  }
}
