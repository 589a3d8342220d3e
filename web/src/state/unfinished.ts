/** Masks that are being kept, and images that are being marked as done: a page that is left
 * meanwhile goes on with them when it is opened again. */

import type { Database } from "../store/database";
import type { Editor } from "./editor";

export interface Intent {
  image: string;
  page: number;
  done?: boolean; // the image is being marked as done
}

const ROW = "unfinished";

export class Unfinished {
  all: readonly Intent[] = [];

  constructor(
    private readonly db: Database,
    private readonly changed: () => void,
  ) {}

  /** Do what takes its time; until it is over, it is an intent. */
  async during<T>({ entry, sight }: Editor, also: Partial<Intent>, work: () => Promise<T>) {
    const intent = { image: entry.id, page: sight.page, ...also };
    this.keep([...this.all, intent]);
    try {
      return await work();
    } finally {
      this.keep(this.all.filter((one) => one !== intent));
    }
  }

  private keep(all: readonly Intent[]): void {
    this.all = all;
    if (all.length) void this.db.keep("settings", { name: ROW, ...all.at(-1) });
    else void this.db.forget("settings", ROW);
    this.changed();
  }

  /** What was left unfinished when the page was closed. */
  left = () => this.db.get<Intent>("settings", ROW);
}
