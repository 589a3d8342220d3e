/**
 * What still has to reach the store: kept on the disk, sent in order, asked again until it worked.
 *
 * A record waits at most once: a newer state replaces the one that waits. Ids and versions that the
 * store gives live here, so that the page's records only carry the key that the page gave them.
 */

import type { Database } from "./database";
import { StoreError } from "./store";
import type { CocoRle } from "../masks/rle";
import type { Draft, Happening, SavedRecord, Store, Verdict } from "./store";

interface About {
  number?: number;
  image: string;
}

/** What is to become of a record; `base`: what the page knew of it then. */
interface AboutRecord extends About {
  key: string;
  base?: Name;
}

export type Note =
  | (AboutRecord & { kind: "save"; record: Draft })
  | (AboutRecord & { kind: "remove" })
  | (AboutRecord & { kind: "verdict"; verdict: Verdict; seconds: number; rle?: CocoRle })
  | (About & { kind: "events"; events: Happening[] });

export interface Name {
  key: string;
  id: string;
  version: number;
}

export interface Standing {
  waiting: number;
  conflicts: number; // masks that wait for an answer: whose is kept
  lost: string | null; // why nothing goes out at the moment
}

export interface Conflict {
  note: Note & { key: string };
  theirs: SavedRecord | null;
  message: string;
}

const LONGEST_WAIT_S = 30;
const TOGETHER = 100; // masks of one request

/** A number for a note; another tab takes another one in the same millisecond. */
const unlikelyTaken = () => 1000 * Date.now() + Math.floor(1000 * Math.random());

const cost = (note: Note & { kind: "save" }) => note.record.seconds ?? 0;

/** Whether the store has already what a note asks for: another tab has sent it, too. */
function agreed(note: Note, theirs: SavedRecord | null): boolean {
  if (note.kind === "remove") return theirs === null;
  if (note.kind !== "save" || !theirs) return false;
  const of = ({ rle, label, state, notes = {}, page = 0 }: Draft) =>
    JSON.stringify([rle.counts, label, state, Object.entries(notes).sort(), page]);
  return of(note.record) === of(theirs);
}

export class Outbox {
  private notes: Note[] = [];
  private held: (Note & { key: string })[] = []; // asked about, and again after a reload
  private last = 0; // the newest note's number
  private names = new Map<string, Name>();
  private sending: Promise<void> | null = null;
  private leaving = 0; // so many of the first notes are on their way
  private singly = 0; // so many of the first notes go one by one
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private lost: string | null = null;

  constructor(
    private readonly store: Store,
    private readonly db: Database,
    private readonly told: (standing: Standing) => void,
    private readonly conflict: (conflict: Conflict) => void,
    private readonly refused: (message: string) => void,
  ) {
    addEventListener("online", () => void this.flush());
  }

  /** Read what an earlier page left behind. */
  async open(): Promise<void> {
    this.notes = await this.db.all<Note>("outbox");
    this.last = this.notes.at(-1)?.number ?? 0;
    const bases = this.notes.flatMap((note) => (note.kind !== "events" && note.base) || []);
    for (const name of [...(await this.db.all<Name>("names")), ...bases]) {
      const known = this.names.get(name.key)?.version ?? 0;
      if (name.version > known) this.names.set(name.key, name);
    }
    this.tell();
  }

  /** Take over the store's state of a record that the page knows by `key`. */
  learn(key: string, record: SavedRecord): void {
    this.rename({ key, id: record.id, version: record.version });
  }

  /** The keys by which the page knows records of the store. */
  learnAll(records: SavedRecord[]): string[] {
    const byId = this.namesById();
    const ours = new Set(this.notes.map((note) => note.kind !== "events" && note.key));
    const open = new Set(this.held.map((note) => note.key)); // their version is not agreed to yet
    return records.map((record) => {
      const sent = record.client_id && ours.has(record.client_id) ? record.client_id : null;
      const key = byId.get(record.id)?.key ?? sent ?? record.id;
      const known = open.has(key) && this.names.has(key);
      if (!known) this.names.set(key, { key, id: record.id, version: record.version });
      return key;
    });
  }

  idOf(key: string): string | null {
    return this.names.get(key)?.id ?? null;
  }

  /** The keys and versions by which the page knows records of the store. */
  namesById(): Map<string, Name> {
    return new Map([...this.names.values()].map((name) => [name.id, name]));
  }

  /** Whether masks of an image are on their way. */
  sends(image: string): boolean {
    return this.notes.some((note) => note.kind !== "events" && note.image === image);
  }

  /** What waits for one image, oldest first. */
  waitingFor(image: string): Note[] {
    return [...this.held, ...this.notes].filter((note) => note.image === image);
  }

  /** Take a note; it is safe when this returns, and on the disk when the promise resolves. */
  async add(note: Note): Promise<void> {
    const older = note.kind === "save" || note.kind === "remove" ? this.replaceOlder(note) : [];
    if (note.kind !== "events") note.base = this.names.get(note.key);
    this.last = note.number = Math.max(this.last + 1, unlikelyTaken());
    this.notes.push(note);
    const written = [
      this.db.keep("outbox", note),
      ...older.map((old) => this.db.forget("outbox", old.number!)),
    ];
    this.tell();
    await Promise.all(written);
    void this.flush();
  }

  /** A newer state of a record makes the one that waits (and is not on its way) needless. */
  private replaceOlder(note: Note & { key: string }): Note[] {
    const older = this.notes.filter(
      (old, i) =>
        (old.kind === "save" || old.kind === "remove") && old.key === note.key && i >= this.leaving,
    );
    older.push(...this.held.filter((old) => old.kind !== "verdict" && old.key === note.key));
    this.notes = this.notes.filter((note) => !older.includes(note));
    this.held = this.held.filter((note) => !older.includes(note));
    const spent = older.reduce((sum, old) => sum + (old.kind === "save" ? cost(old) : 0), 0);
    if (note.kind === "save" && spent)
      note.record = { ...note.record, seconds: cost(note) + spent };
    return older;
  }

  /** Send everything; resolves when nothing waits or nothing goes out. */
  flush(): Promise<void> {
    clearTimeout(this.timer);
    this.sending ??= this.sendAll().finally(() => {
      this.sending = null;
    });
    return this.sending;
  }

  private async sendAll(): Promise<void> {
    while (this.notes.length) {
      const notes = this.together();
      this.leaving = notes.length;
      let failed: (StoreError | null)[] | null;
      try {
        failed = notes.length > 1 ? await this.sendTogether(notes) : [await this.sendOne(notes[0])];
      } finally {
        this.leaving = 0;
      }
      if (!failed) continue;
      const away = failed.find((error) => error?.kind === "lost" || error?.kind === "busy");
      if (away) return this.later(away);
      this.failures = 0;
      this.lost = null;
      this.singly = Math.max(0, this.singly - 1);
      await Promise.all(failed.map((error, i) => this.answered(notes[i], error)));
      this.tell();
    }
  }

  /** The notes that leave next: masks of one image that one request can keep, else one. */
  private together(): [Note, ...Note[]] {
    const [first, ...others] = this.notes;
    if (!this.store.saveAll || this.singly > 0 || first.kind !== "save") return [first];
    const end = others.findIndex(({ kind, image }) => kind !== "save" || image !== first.image);
    return [first, ...others.slice(0, Math.min(end < 0 ? others.length : end, TOGETHER - 1))];
  }

  private async sendTogether(notes: Note[]): Promise<(StoreError | null)[] | null> {
    const saves = notes.filter((note) => note.kind === "save");
    const given = saves.map(({ record, key }) => ({ record, key, name: this.names.get(key) }));
    try {
      const kept = await this.store.saveAll!(saves[0].image, given);
      kept.forEach((one, i) => one instanceof StoreError || this.learn(saves[i].key, one));
      return kept.map((one) => (one instanceof StoreError ? one : null));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.kind === "lost" || error.kind === "busy") return [error];
      this.singly = notes.length; // one of them is at fault: which one?
      return null;
    }
  }

  private async sendOne(note: Note): Promise<StoreError | null> {
    try {
      await this.send(note);
      return null;
    } catch (error) {
      if (error instanceof StoreError) return error;
      throw error;
    }
  }

  /** A note has been taken, or was refused for good. */
  private async answered(note: Note, error: StoreError | null): Promise<void> {
    this.notes = this.notes.filter((other) => other !== note);
    if (error?.kind === "conflict" && note.kind !== "events" && !agreed(note, error.current)) {
      this.held.push(note);
      this.conflict({ note, theirs: error.current, message: error.message });
      return;
    }
    if (error && error.kind !== "conflict") this.refused(error.message);
    else if (note.kind === "save" && error?.current) this.learn(note.key, error.current);
    await this.db.forget("outbox", note.number!);
  }

  private later(error: StoreError): void {
    this.failures++;
    const wait = error.kind === "busy" ? error.retryAfter : 2 ** Math.min(this.failures - 1, 5);
    this.lost = error.message;
    this.timer = setTimeout(() => void this.flush(), 1000 * Math.min(wait, LONGEST_WAIT_S));
    this.tell();
  }

  private async send(note: Note): Promise<void> {
    if (note.kind === "events") return this.store.events(note.image, note.events);
    const name = this.names.get(note.key);
    if (note.kind === "verdict") {
      const id = name?.id ?? note.key;
      const saved = await this.store.verdict(id, note.verdict, note.seconds, note.rle);
      return this.learn(note.key, saved);
    }
    if (note.kind === "remove") {
      if (name) await this.store.remove(name.id, name.version);
      this.names.delete(note.key);
      await this.db.delete("names", note.key);
      return;
    }
    const saved = name
      ? await this.store.update({ ...note.record, id: name.id, version: name.version })
      : await this.store.create(note.image, note.record, note.key);
    this.rename({ key: note.key, id: saved.id, version: saved.version });
  }

  private rename(name: Name): void {
    this.names.set(name.key, name);
    void this.db.put("names", name);
  }

  /** Mine over theirs: the same state again, on top of their version. */
  async insist(conflict: Conflict): Promise<void> {
    const { note, theirs } = conflict;
    if (!this.held.includes(note)) return; // there is a newer one, which is asked about
    if (theirs) this.rename({ key: note.key, id: theirs.id, version: theirs.version });
    else this.names.delete(note.key);
    const { number: _, ...fresh } = note;
    await this.add(fresh as Note);
    await this.letGo(conflict);
  }

  /** Theirs stays: mine is not sent. */
  async letGo({ note }: Conflict): Promise<void> {
    if (!this.held.includes(note)) return;
    this.held = this.held.filter((other) => other !== note);
    await this.db.forget("outbox", note.number!);
    this.tell();
  }

  private tell(): void {
    this.told({ waiting: this.notes.length, lost: this.lost, conflicts: this.held.length });
  }
}
