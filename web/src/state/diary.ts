/** Log of the actions on one image, for measuring annotation time: kept, then sent in batches. */

import type { Outbox } from "../store/outbox";
import type { Happening } from "../store/store";

const PARCEL = 40; // events sent at once

export class Diary {
  private lastAt = performance.now();
  private events: Happening[] = [];
  private sent: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly image: string,
    private readonly outbox: Outbox,
    private readonly tool: () => string,
  ) {}

  /** An event: what, with which tool, after how long. */
  note(kind: string, detail: Record<string, unknown> = {}): void {
    const now = performance.now();
    const seconds = Math.round(now - this.lastAt) / 1000;
    this.lastAt = now;
    this.events.push({ kind, tool: this.tool(), seconds, detail });
    if (this.events.length >= PARCEL) this.send();
  }

  /** A mask was kept, after so many seconds. */
  kept(record: string, seconds: number): void {
    this.events.push({ kind: "accept", tool: this.tool(), seconds, record });
    this.send();
  }

  send(): void {
    if (!this.events.length) return;
    const events = this.events.splice(0);
    this.add({ kind: "events", image: this.image, events });
  }

  /** Give something to the outbox; `settled` waits for it. */
  add(note: Parameters<Outbox["add"]>[0]): void {
    this.sent = Promise.all([this.sent, this.outbox.add(note)]);
  }

  /** Everything is with the outbox. */
  async settled(): Promise<void> {
    await this.sent;
  }
}
