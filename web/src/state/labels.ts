/** The names of the project: known at once everywhere in the page, kept by the store. */

import { fromHex, freeColor, nthColor, type Rgb } from "../canvas/colors";
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

  readonly color = (name: string): Rgb => {
    const place = this.entries.findIndex((one) => one.name === name);
    return place < 0 ? nthColor(this.entries.length) : fromHex(this.entries[place].color);
  };

  /** Take up a name; while the server is away the mask that has it will tell it. */
  async learn(name: string): Promise<void> {
    if (!name || this.entries.some((one) => one.name === name)) return;
    const color = freeColor(this.entries.map((one) => one.color));
    this.set([...this.entries, { name, color, masks: 0 }]);
    try {
      this.set(await this.store.addLabel(name, color));
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

  /** Read the names and their counts again; an answer older than a change is dropped. */
  async refresh(): Promise<void> {
    const [before, entries] = [this.entries, await this.store.labels()];
    if (this.entries === before) this.set(entries);
  }
}
