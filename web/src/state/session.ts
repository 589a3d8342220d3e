/** The project in this page: its images, the open one, the model, what is said to the user. */

import { TiledImage } from "../canvas/tiled_image";
import type { Layers } from "../canvas/labelmap";
import type { View } from "../canvas/view";
import type { Model } from "../model/client";
import type { Granularity } from "../model/granularity";
import type { Database } from "../store/database";
import type { Namer } from "../store/namer";
import { Outbox, type Conflict, type Standing } from "../store/outbox";
import { Asking } from "./asking";
import { Calibration } from "./calibration";
import { reviewedMasks } from "./concepts";
import { Labels } from "./labels";
import { SILENT } from "../store/store";
import type { Channel, ImageEntry, ImagePage, Project, ReviewItem, Store } from "../store/store";
import { Editor, type EditorHost } from "./editor";
import { Naming } from "./naming";
import { countElsewhere, storedMasks } from "./others";
import { Simplifying, picked } from "./simplifying";
import { Speaker } from "./speaker";
import { resume, rowOf } from "./proposing";
import { lastChannel, meetFile, encodeImage, sightOf, type Sight } from "./encoding";
import { Unfinished } from "./unfinished";
import { NO_DRAFT, activeLabel, isEmpty, type State, type Work } from "./work";

/** A verdict that can be taken back. */
interface Judged {
  image: string;
  page: number;
  key: string;
  editor: Editor; // as it was then,
  steps: number; // with so many steps
}

/** How image and masks are drawn. */
export interface DisplaySettings {
  fill: number; // of a mask, 0 to 1
  outline: number; // screen pixels
  brightness: number;
  contrast: number;
  gamma: number;
  guides: boolean; // lines through the pointer
  bar: boolean; // the scale bar
}

export const PLAIN: DisplaySettings = {
  fill: 0.42,
  outline: 1,
  brightness: 1,
  contrast: 1,
  gamma: 1,
  guides: false,
  bar: true,
};

/** Whether somebody has worked on an image. */
export const hasMasks = (image: ImageEntry) => image.records > 0 || image.status === "done";

export type ToolName = "point" | "box" | "lasso" | "brush" | "eraser" | "polygon" | "pick" | "pan";

const NOT_SAVED = "Not saved yet. ";
const PAGE = 1000; // images listed at once: the most that the server gives

export class Session extends Speaker implements EditorHost {
  project!: Project;
  images: ImageEntry[] = [];
  gone: ReadonlySet<string> = new Set(); // images whose files are not in the folder any more
  editor: Editor | null = null;
  image: TiledImage | null = null;
  opening: string | null = null;
  failed: { name: string; why: string } | null = null; // the image that could not be opened
  toolName: ToolName = "point";
  part: Granularity = "all";
  brush = 12;
  shown = { masks: true, proposals: true };
  display: DisplaySettings = PLAIN;
  subtracting = false; // clicks say "not this", until the object is kept; for fingers
  taking = false; // new masks take their pixels from those beneath them
  redraw: () => void = () => undefined; // image and masks, in the next frame
  changeDisplay: (part: Partial<DisplaySettings>) => void = () => undefined; // changes `look`, and keeps it
  readonly labels: Labels;
  readonly calibration: Calibration;
  readonly unfinished: Unfinished;
  readonly naming: Naming;
  readonly simplifying = new Simplifying(picked(this));
  modelState = "loading";
  review: { item: ReviewItem; since: number; asked?: boolean; given?: boolean } | null = null;
  judged: Judged[] = []; // the verdicts of this page, newest last
  standing: Standing = { waiting: 0, lost: null, conflicts: 0 };
  readonly outbox: Outbox;
  private readonly asking = new Asking(this);
  private engine: Model | null = null;
  private lastLabel = ""; // goes along to the next image; the page shows it
  least: number | null = null; // of the score of proposals that are shown; null: as they came
  private opened = 0;
  private readonly pages = new Map<string, number>(); // that were open last, by image
  turningTo: number | null = null; // the page of the open image that is being opened
  private readonly ahead: (() => void)[] = []; // what waits for the image that is being opened
  elsewhere = 0; // masks on other pages of the open image
  private at: string | null = null; // the image that is open, being opened, or could not be

  constructor(
    readonly store: Store,
    readonly db: Database,
    readonly view: View,
    namer: Namer,
  ) {
    super();
    this.naming = new Naming(this, namer);
    const told = (standing: Standing) => {
      if (this.standing.lost && !standing.lost && this.failed) void this.retry();
      this.tellTrouble(standing);
      this.standing = standing;
      this.changed();
    };
    this.calibration = new Calibration(db);
    this.unfinished = new Unfinished(db, () => this.changed());
    this.labels = new Labels(store, () => {
      this.editor?.refresh();
      this.changed();
    });
    const ask = (conflict: Conflict) => this.asking.ask(conflict);
    const refused = (why: string) => this.say(`Not saved on the server. ${why}`, [], true);
    this.outbox = new Outbox(store, db, told, ask, refused);
  }

  // ------------------------------------------------------------------------------ what desks use

  model = () => (this.project.arm === "control" ? null : this.engine);
  granularity = () => this.part;
  layers = (): Layers => ({
    ...this.shown,
    palette: this.labels.color,
    fill: this.display.fill,
    outline: this.display.outline,
    least: this.least,
    only: reviewedMasks(this),
  });
  learn = (label: string) => void this.labels.learn(label);
  likelyName = (editor: Editor) => this.naming.likelyName(editor);
  tool = () => this.toolName;
  takes = () => this.taking;
  corrects = () => {
    if (this.toolName === "pick") this.toolName = this.model() ? "point" : "brush";
  };

  /** Whether clicks without a key say "not this": there must be something to take away from. */
  get takesAway(): boolean {
    const asks = this.toolName === "point" || this.toolName === "lasso";
    this.subtracting &&= this.editor !== null && !isEmpty(this.editor.draft);
    return asks && this.subtracting;
  }

  /** What was said is over: another image, or another mask under review, is there. */
  moveOn(): void {
    const staying = this.messages.filter(({ stays }) => stays);
    this.messages.splice(0, Infinity, ...staying);
  }

  /** Say why the server keeps nothing, where it answers, until it does again. */
  private tellTrouble({ lost }: Standing): void {
    if (lost === this.standing.lost) return;
    const old = this.messages.find(({ text }) => text.startsWith(NOT_SAVED));
    if (old) this.dismiss(old);
    if (lost && lost !== SILENT) this.say(`${NOT_SAVED}${lost}`, [], true);
  }

  keepDraft({ entry, sight }: Editor, { draft, label, next }: State): void {
    const row = { name: rowOf("draft", entry.id, sight.page), draft, label, next };
    void (isEmpty(draft) ? this.db.forget("settings", row.name) : this.db.keep("settings", row));
  }

  // ------------------------------------------------------------------------------------- opening

  async start(): Promise<void> {
    await Promise.all([this.outbox.open(), this.calibration.open()]);
    this.project = await this.store.project();
    this.labels.set(this.project.labels);
    await this.outbox.flush();
    await this.list();
  }

  async list(): Promise<void> {
    const all: ImageEntry[] = [];
    let after: string | null = null;
    do {
      const page: ImagePage = await this.store.images(after, PAGE);
      all.push(...page.images);
      after = page.next;
    } while (after !== null);
    this.images = all;
    this.changed();
  }

  /** What is new about one image; ten thousand are not listed again for it. */
  know(id: string, news: Partial<ImageEntry>): void {
    this.images = this.images.map((image) => (image.id === id ? { ...image, ...news } : image));
    this.changed();
  }

  /** Where the model comes from, once it is wanted. */
  modelFrom: (() => Promise<Model>) | null = null;
  private loading: Promise<void> | null = null;

  /** Load the model, once, unless this way of working does without; then let it see the image. */
  async wantModel(): Promise<void> {
    if (this.project.arm === "control") return;
    this.loading ??= this.loadModel();
    await this.loading;
    if (this.editor && !this.editor.encoded) void encodeImage(this, this.editor);
    this.changed();
  }

  private async loadModel(): Promise<void> {
    try {
      if (!this.modelFrom) throw new Error("No model is configured.");
      this.engine = await this.modelFrom();
      this.modelState = "ready";
    } catch (error) {
      this.modelState = "failed";
      const why = (error as Error).message;
      const again = { title: "Try again", run: () => void this.wantModel() };
      const rest = "You can still use the brush and the polygon.";
      this.say(`The model could not be loaded. ${why} ${rest}`, [again], true);
      this.loading = null;
    }
  }

  get index(): number {
    return this.images.findIndex((image) => image.id === this.at);
  }

  /** Open the next image that nobody has worked on. */
  async goUnlabelled(): Promise<void> {
    const { images, index } = this;
    const next = [...images.slice(index + 1), ...images.slice(0, Math.max(0, index))].find(
      (image) => !hasMasks(image) && !this.gone.has(image.id),
    );
    if (next) await this.open(next.id);
    else this.say("All other images have masks or are done.");
  }

  /** How many masks an image has by now. */
  counted(image: string, here: number): void {
    const known = this.images.find((one) => one.id === image);
    const records = here + this.elsewhere;
    if (known && known.records !== records) this.know(image, { records });
  }

  async go(step: number): Promise<void> {
    const next = this.images[this.index + step];
    if (next) return this.open(next.id);
    const end = step > 0 ? "last image. Press Ctrl+S to export the masks" : "first image";
    this.say(`This is the ${end}.`);
  }

  /** Tell what is left behind: the mask in the making waits where it is. */
  private tellLeft({ draft, entry }: Editor): void {
    if (isEmpty(draft)) return;
    const back = [{ title: "Go back", run: () => void this.open(entry.id) }];
    const told = `The mask on ${entry.name} is not finished. Go back and press Enter to keep it.`;
    this.say(told, back);
  }

  /** Open an image; `page`: of its file, else the one that was open last, or its first. */
  async open(id: string, page = this.pages.get(id) ?? null): Promise<void> {
    const entry = this.images.find((image) => image.id === id);
    if (!entry) return this.say(`Image ${id} is not in this project.`);
    const turn = ++this.opened;
    const before = this.editor?.entry.id;
    this.turningTo = before === id ? page : null;
    if (before !== id) this.moveOn();
    if (before !== id && this.editor) this.tellLeft(this.editor);
    this.at = id;
    this.opening = entry.name;
    this.changed();
    try {
      await this.leave();
      const planes = await this.store.planes(id);
      const sight = sightOf(id, planes, page, this.editor?.sight ?? lastChannel.read());
      const blob = await this.store.pixels(id, sight.request);
      const [image, work] = await Promise.all([TiledImage.open(blob), this.restore(id, sight)]);
      if (turn !== this.opened) return image.close();
      this.show(image, before !== id);
      this.failed = null;
      this.pages.set(id, sight.page);
      this.calibration.ofFile = planes.pixel;
      meetFile(this, id, planes);
      this.edit(new Editor(entry, image.hw, work, sight, this));
    } catch (error) {
      if (turn === this.opened) this.clear({ name: entry.name, why: (error as Error).message });
    } finally {
      if (turn === this.opened) {
        this.opening = this.turningTo = null;
        for (const step of this.ahead.splice(0)) step();
        this.asking.remind();
      }
      this.changed();
    }
  }

  /** Do it now, or when the image that is on its way is there: it is meant for that one. */
  whenOpen(step: () => void): void {
    if (this.opening) this.ahead.push(step);
    else step();
  }

  private edit(editor: Editor): void {
    this.editor = editor;
    void encodeImage(this, editor);
    if (!isEmpty(editor.draft)) void editor.update();
  }

  private show(image: TiledImage, refit: boolean): void {
    const other = refit || this.view.hw.join() !== image.hw.join();
    this.image?.close();
    this.image = image;
    this.view.hw = image.hw;
    if (other) this.view.fit();
  }

  /** The open page in another channel (null: as it comes); work on it goes on. */
  async showChannel(channel: Channel): Promise<void> {
    const { editor } = this;
    if (!editor || this.opening) return; // the page that is on its way comes first
    const { entry, work, sight: was } = editor;
    const turn = ++this.opened;
    const sight = sightOf(entry.id, was.planes, was.page, { ...was, channel });
    await editor.settled();
    try {
      const image = await TiledImage.open(await this.store.pixels(entry.id, sight.request));
      if (turn !== this.opened) return image.close();
      this.show(image, false);
      lastChannel.write(sight.channel);
      editor.diary.send();
      const next = new Editor(entry, image.hw, work, sight, this);
      next.startedAt = editor.startedAt;
      this.edit(next);
    } catch (error) {
      this.say(`This channel cannot be shown. ${(error as Error).message}`);
    }
    this.changed();
  }

  /** No image is open: this one could not be; the way to the others stays. */
  private clear(failed: { name: string; why: string }): void {
    this.image?.close();
    this.editor = this.image = null;
    this.failed = failed;
  }

  /** Open the image again that could not be opened. */
  async retry(): Promise<void> {
    if (this.at) await this.open(this.at);
  }

  private async leave(): Promise<void> {
    const { editor } = this;
    if (!editor) return;
    editor.diary.send();
    await editor.settled();
    this.lastLabel = activeLabel(editor.state);
  }

  /** The image's masks, with what has not reached the store yet, and the draft that was left. */
  private async restore(image: string, { page }: Sight): Promise<Work> {
    const all = await storedMasks(this, image);
    const left = await this.db.get<State>("settings", rowOf("draft", image, page));
    const kept = all.filter((mask) => (mask.page ?? 0) === page);
    this.elsewhere = countElsewhere(all, page);
    const draft = { ...NO_DRAFT, ...left?.draft };
    if (!kept.some((mask) => mask.key === draft.fixes)) draft.fixes = null;
    const label = left?.label ?? this.lastLabel;
    const state = { masks: kept, draft, label, next: left?.next, selected: null };
    return resume(this.db, this.outbox, image, page, state);
  }
}
