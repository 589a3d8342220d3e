/** The names of the project: known at once everywhere in the page, kept by the store. */

import { fromHex, freeColour, nthColour } from "../canvas/colours";
import type { Rgb } from "../canvas/colours";
import { StoreError } from "../store/store";
import type { LabelChange, LabelEntry, LabelFate, Store } from "../store/store";

export class Labels {
  private entries: LabelEntry[] = [];

  constructor(
    private readonly store: Store,
    private readonly changed: () => void,
  ) {}

  get all(): readonly LabelEntry[] {
    return this.entries;
  }

  set(entries: LabelEntry[]): void {
    this.entries = entries;
    this.changed();
  }

  readonly colour = (name: string): Rgb => {
    const place = this.entries.findIndex((one) => one.name === name);
    return place < 0 ? nthColour(this.entries.length) : fromHex(this.entries[place].colour);
  };

  /** Take up a name; while the server is away the mask that has it will tell it. */
  async learn(name: string): Promise<void> {
    if (!name || this.entries.some((one) => one.name === name)) return;
    const colour = freeColour(this.entries.map((one) => one.colour));
    this.set([...this.entries, { name, colour, masks: 0 }]);
    try {
      this.set(await this.store.addLabel(name, colour));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
    }
  }

  async change(name: string, change: LabelChange): Promise<void> {
    this.set(await this.store.changeLabel(name, change));
  }

  async delete(name: string, masks: LabelFate): Promise<void> {
    this.set(await this.store.deleteLabel(name, masks));
  }

  /** Read the names and their counts anew. */
  async refresh(): Promise<void> {
    this.set(await this.store.labels());
  }
}
