/**
 * Rows on their way to IndexedDB, in localStorage: written before the call returns, gone once they
 * are on the disk. What a page could not finish before it was reloaded or closed, the next reads.
 */

import type { Table } from "./database";

export interface Entry {
  table: Table;
  key: IDBValidKey;
  row: unknown; // null where the row is to go
}

export class Journal {
  /** name  of the database; several share one storage */
  constructor(
    private readonly name: string,
    private readonly storage: Storage | null,
  ) {}

  /** Write an entry; it replaces the one of the same row. Returns what takes it away again. */
  write(entry: Entry): () => void {
    const place = `${this.name}/${entry.table}/${String(entry.key)}`;
    const text = JSON.stringify({ ...entry, stamp: crypto.randomUUID() });
    try {
      this.storage?.setItem(place, text);
    } catch {
      this.storage?.removeItem(place); // full: an older state must not come back over this one
    }
    return this.end(place, text);
  }

  /** What earlier pages left, each with what takes it away. */
  left(): [Entry, () => void][] {
    const { storage } = this;
    if (!storage) return [];
    const places = Array.from({ length: storage.length }, (_, i) => storage.key(i)!);
    return places
      .filter((place) => place.startsWith(`${this.name}/`))
      .map((place) => {
        const text = storage.getItem(place)!;
        return [JSON.parse(text) as Entry, this.end(place, text)];
      });
  }

  /** Takes an entry away, unless a newer one stands in its place. */
  private end(place: string, text: string): () => void {
    return () => {
      if (this.storage?.getItem(place) === text) this.storage.removeItem(place);
    };
  }
}

/** localStorage, or null where the browser refuses it. */
export function browserStorage(): Storage | null {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
