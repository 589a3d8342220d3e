/** The project in this page: its photos, the open one, the model, what is said to the user. */

import { Photo } from "../canvas/photo";
import type { Layers } from "../canvas/labelmap";
import type { View } from "../canvas/view";
import type { Model } from "../model/client";
import type { Granularity } from "../model/granularity";
import type { Database } from "../store/database";
import { Outbox } from "../store/outbox";
import { Labels } from "./labels";
import type { Conflict, Standing } from "../store/outbox";
import { StoreError } from "../store/store";
import type { ImageEntry, LabelFate, Project, ReviewItem, Store } from "../store/store";
import { Editor } from "./editor";
import type { EditorHost } from "./editor";
import { everything } from "./everything";
import { NO_DRAFT, Work, isEmpty, toMask } from "./work";
import type { State } from "./work";

/** A verdict that can be taken back. */
export interface Judged {
  image: string;
  key: string;
  editor: Editor; // as it was then,
  steps: number; // with so many steps
}

export interface Message {
  text: string;
  actions: { title: string; run: () => void }[];
}

/** How photo and masks are drawn. */
export interface Look {
  fill: number; // of a mask, 0 to 1
  outline: number; // screen pixels
  brightness: number;
  contrast: number;
  gamma: number;
}

/** Whether somebody has worked on a photo. */
export const hasMasks = (image: ImageEntry) => image.records > 0 || image.status === "done";

export type ToolName = "point" | "box" | "lasso" | "brush" | "eraser" | "polygon" | "pick" | "pan";

const PAGE = 1000; // photos listed at once: the most that the server gives

export class Session implements EditorHost {
  project!: Project;
  images: ImageEntry[] = [];
  editor: Editor | null = null;
  photo: Photo | null = null;
  opening: string | null = null;
  failed: { name: string; why: string } | null = null; // the photo that could not be opened
  toolName: ToolName = "point";
  part: Granularity = "all";
  brush = 12;
  shown = { masks: true, proposals: true };
  look: Look = { fill: 0.42, outline: 1, brightness: 1, contrast: 1, gamma: 1 };
  redraw: () => void = () => undefined; // photo and masks, in the next frame
  readonly labels: Labels;
  modelState = "loading";
  review: { item: ReviewItem; since: number; asked?: boolean } | null = null;
  judged: Judged[] = []; // the verdicts of this page, newest last
  standing: Standing = { waiting: 0, lost: null };
  readonly messages: Message[] = [];
  readonly outbox: Outbox;
  private engine: Model | null = null;
  private lastLabel = ""; // goes along to the next photo; the page shows it
  least: number | null = null; // of the quality of proposals that are shown; null: as they came
  private opened = 0;
  private at: string | null = null; // the photo that is open, being opened, or could not be
  readonly watchers: (() => void)[] = [];

  constructor(
    readonly store: Store,
    private readonly db: Database,
    readonly view: View,
  ) {
    const told = (standing: Standing) => {
      this.standing = standing;
      this.changed();
    };
    this.labels = new Labels(store, () => {
      this.editor?.refresh();
      this.changed();
    });
    this.outbox = new Outbox(
      store,
      db,
      told,
      (conflict) => this.ask(conflict),
      (message) => this.say(`Not kept on the server: ${message}`),
    );
  }

  // ------------------------------------------------------------------------------ what desks use

  model = () => (this.project.arm === "control" ? null : this.engine);
  granularity = () => this.part;
  layers = (): Layers => ({
    ...this.shown,
    palette: this.labels.colour,
    fill: this.look.fill,
    outline: this.look.outline,
    least: this.least,
    only: this.review ? this.editor?.state.selected : null,
  });
  learn = (label: string) => void this.labels.learn(label);
  tool = () => this.toolName;

  changed(): void {
    for (const watcher of this.watchers) watcher();
  }

  say(text: string, actions: Message["actions"] = []): void {
    if (this.messages.some((message) => message.text === text)) return;
    this.messages.push({ text, actions });
    if (this.messages.length > 4) this.messages.shift();
    this.changed();
  }

  dismiss(message: Message): void {
    this.messages.splice(this.messages.indexOf(message), 1);
    this.changed();
  }

  keepDraft(image: string, { draft, label }: State): void {
    const row = { name: `draft:${image}`, draft, label };
    void (isEmpty(draft) ? this.db.forget("settings", row.name) : this.db.keep("settings", row));
  }

  private ask(conflict: Conflict): void {
    const { note, theirs } = conflict;
    const own = this.editor?.entry.id === note.image ? this.editor : null;
    const take = () => {
      if (!own) return;
      const rest = own.state.masks.filter((mask) => mask.key !== note.key);
      if (theirs) this.outbox.learn(note.key, theirs);
      own.work.quietly({ masks: theirs ? [...rest, toMask(theirs, note.key)] : rest });
      own.refresh();
      this.changed();
    };
    const what = theirs ? "Somebody else changed this mask" : "Somebody else deleted this mask";
    this.say(`${what}. Yours is still here.`, [
      { title: "Keep mine", run: () => void this.outbox.insist(conflict) },
      { title: "Take theirs", run: take },
    ]);
  }

  // ------------------------------------------------------------------------------------- opening

  async start(): Promise<void> {
    await this.outbox.open();
    this.project = await this.store.project();
    this.labels.set(this.project.labels);
    await this.outbox.flush();
    await this.list();
  }

  async list(): Promise<void> {
    const all: ImageEntry[] = [];
    let after: string | null = null;
    do {
      const page: Awaited<ReturnType<Store["images"]>> = await this.store.images(after, PAGE);
      all.push(...page.images);
      after = page.next;
    } while (after !== null);
    this.images = all;
    this.changed();
  }

  /** What is new about one photo; ten thousand are not listed again for it. */
  know(id: string, news: Partial<ImageEntry>): void {
    this.images = this.images.map((image) => (image.id === id ? { ...image, ...news } : image));
    this.changed();
  }

  /** Rename a name and its masks; where `to` is there, both become one. */
  async renameLabel(name: string, to: string): Promise<void> {
    await this.sent();
    await this.labels.change(name, { to });
    await this.relabelled(name, to, false);
  }

  /** Delete a name; its masks become nameless, or go too. */
  async deleteLabel(name: string, masks: LabelFate): Promise<void> {
    await this.sent();
    await this.labels.delete(name, masks);
    await this.relabelled(name, null, masks === "delete");
  }

  private async sent(): Promise<void> {
    await this.editor?.settled();
    await this.outbox.flush();
    if (this.standing.lost) throw new Error("names can be changed when the server answers again");
  }

  private async relabelled(old: string, to: string | null, gone: boolean): Promise<void> {
    if (this.editor) {
      this.outbox.learnAll(await this.store.records(this.editor.entry.id));
      this.editor.relabel(old, to, gone);
    }
    if (gone) await this.list();
  }

  /** Where the model comes from, once it is wanted. */
  modelFrom: (() => Promise<Model>) | null = null;
  private loading: Promise<void> | null = null;

  /** Load the model, once, unless this way of working does without; then let it see the photo. */
  async wantModel(): Promise<void> {
    if (this.project.arm === "control") return;
    this.loading ??= this.loadModel();
    await this.loading;
    if (this.editor && !this.editor.seen) void this.see(this.editor);
    this.changed();
  }

  private async loadModel(): Promise<void> {
    try {
      if (!this.modelFrom) throw new Error("no model was named");
      this.engine = await this.modelFrom();
      this.modelState = "ready";
    } catch (error) {
      this.modelState = "failed";
      const why = (error as Error).message;
      this.say(`The model could not be loaded (${why}). Brush and polygon still work.`, [
        { title: "Try again", run: () => void this.wantModel() },
      ]);
      this.loading = null;
    }
  }

  get index(): number {
    return this.images.findIndex((image) => image.id === this.at);
  }

  /** Open the next photo that nobody has worked on. */
  async goUnlabelled(): Promise<void> {
    const { images, index } = this;
    const next = [...images.slice(index + 1), ...images.slice(0, Math.max(0, index))].find(
      (image) => !hasMasks(image),
    );
    if (next) await this.open(next.id);
    else this.say("Every other photo has masks or is finished.");
  }

  /** How many masks a photo has by now. */
  counted(image: string, records: number): void {
    const known = this.images.find((one) => one.id === image);
    if (known && known.records !== records) this.know(image, { records });
  }

  async go(step: number): Promise<void> {
    const next = this.images[this.index + step];
    if (next) await this.open(next.id);
    else this.say(step > 0 ? "This was the last photo." : "This is the first photo.");
  }

  async open(id: string): Promise<void> {
    const entry = this.images.find((image) => image.id === id);
    if (!entry) return this.say(`the photo ${id} is not in this project`);
    const turn = ++this.opened;
    await this.leave();
    this.at = id;
    this.opening = entry.name;
    this.changed();
    try {
      const blob = await this.store.pixels(id);
      const [photo, state] = await Promise.all([Photo.open(blob), this.restore(id)]);
      if (turn !== this.opened) return photo.close();
      this.photo?.close();
      this.photo = photo;
      this.view.hw = photo.hw;
      this.view.fit();
      this.failed = null;
      this.editor = new Editor(entry, photo.hw, new Work(state), this);
      void this.see(this.editor);
      if (!isEmpty(state.draft)) void this.editor.look();
    } catch (error) {
      if (turn === this.opened) this.clear({ name: entry.name, why: (error as Error).message });
    } finally {
      if (turn === this.opened) this.opening = null;
      this.changed();
    }
  }

  /** No photo is open: this one could not be; the way to the others stays. */
  private clear(failed: { name: string; why: string }): void {
    this.photo?.close();
    this.editor = this.photo = null;
    this.failed = failed;
  }

  /** Open the photo again that could not be opened. */
  async retry(): Promise<void> {
    if (this.at) await this.open(this.at);
  }

  private async leave(): Promise<void> {
    this.lastLabel = this.editor?.state.label ?? this.lastLabel;
    this.editor?.sendEvents();
    await this.editor?.settled();
  }

  /** The photo's masks, with what has not reached the store yet, and the draft that was left. */
  private async restore(image: string): Promise<State> {
    await this.outbox.flush();
    const records = await this.store.records(image);
    const keys = this.outbox.learnAll(records);
    const masks = new Map(records.map((record, i) => [keys[i], toMask(record, keys[i])]));
    for (const note of this.outbox.waitingFor(image)) {
      if (note.kind === "save") masks.set(note.key, toMask(note.record, note.key));
      if (note.kind === "remove") masks.delete(note.key);
    }
    const left = await this.db.get<State>("settings", `draft:${image}`);
    const kept = [...masks.values()];
    const draft = { ...NO_DRAFT, ...left?.draft };
    if (!masks.has(draft.fixes ?? "")) draft.fixes = null;
    return { masks: kept, draft, label: left?.label ?? this.lastLabel, selected: null };
  }

  /** Let the model see the photo, then the next one. */
  private async see(editor: Editor): Promise<void> {
    const model = this.model();
    if (!model) return;
    try {
      await this.embed(model, editor.entry.id);
      editor.seen = true;
      if (!isEmpty(editor.draft)) void editor.look();
      this.changed();
      if (editor !== this.editor) return;
      if (this.wantsProposals(editor)) await everything(this);
      const next = this.images[this.index + 1];
      if (next) await this.embed(model, next.id).catch(() => null); // it says so when it is opened
    } catch (error) {
      if (editor !== this.editor) return;
      const again = { title: "Try again", run: () => void this.see(editor) };
      this.say(`The model could not see the photo: ${(error as Error).message}`, [again]);
    }
  }

  /** Whether this way of working begins with the model's proposals. */
  private wantsProposals(editor: Editor): boolean {
    const { stage } = this.project;
    const fresh = !editor.state.masks.length && editor.entry.status !== "done";
    return fresh && (stage === "semi" || stage === "auto");
  }

  private embed(model: Model, image: string) {
    const photo = () => this.store.pixels(image);
    return model.embed(image, photo, async () => {
      for (let attempt = 0; ; attempt++) {
        try {
          return await this.store.embedding(image);
        } catch (error) {
          const busy = error instanceof StoreError && error.kind === "busy";
          if (!busy || attempt > 8) throw error;
          await new Promise((resume) => setTimeout(resume, 1000 * error.retryAfter));
        }
      }
    });
  }
}
