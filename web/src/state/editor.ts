/** The work on the open image: what tools and keys do to it, step by step. */

import { LabelMap, type Layers } from "../canvas/labelmap";
import { simplified, tracePatch } from "../masks/outline";
import type { Model } from "../model/client";
import type { Size } from "../model/geometry";
import type { Granularity } from "../model/granularity";
import type { Click } from "../model/negative_clicks";
import type { Candidates } from "../model/segment";
import type { Outbox } from "../store/outbox";
import type { ImageEntry } from "../store/store";
import { Diary } from "./diary";
import { Drafting, NOTHING, isEmptyResult, type DraftResult } from "./drafting";
import { shownMasks, withSpare } from "./everything";
import { Turns, forTwin, madeMask, twinOf, withMask } from "./keeping";
import type { Sight } from "./encoding";
import { withoutOverlap } from "./shaping";
import type { Unfinished } from "./unfinished";
import { Work, activeLabel, asksModel, difference, forNext, isEmpty, isGuess } from "./work";
import { NO_DRAFT, labelFields, toSent, type Draft, type Mask, type State } from "./work";

/** What the editor needs of the host around it. */
export interface EditorHost {
  model(): Model | null;
  granularity(): Granularity;
  layers(): Layers;
  tool(): string;
  corrects(): void; // a mask is being fixed: not with the tool that picks one
  takes(): boolean; // whether a new mask takes its pixels from those beneath it
  changed(): void;
  say(text: string): void;
  learn(label: string): void;
  likelyName(editor: Editor): string | null; // of the object in the making, where it is sure
  keepDraft(editor: Editor, state: State): void;
  readonly unfinished: Pick<Unfinished, "during">;
  counted(image: string, records: number): void;
  readonly outbox: Outbox;
}

const NONE = { selected: null, also: [] };
const HOVER_LIMIT = 1024; // pixels along the longer side of a preview

export class Editor {
  readonly hw: Size;
  readonly map: LabelMap;
  readonly drafting: Drafting;
  readonly diary: Diary;
  result: DraftResult;
  spare: readonly Mask[] = []; // found and not shown; not kept
  preview: Candidates | null = null;
  hovered: Mask | null = null;
  private forgotten = 0; // how often the pointer has left: what is answered later is not shown
  thinking = 0;
  encoded = false; // whether the model has seen the image
  startedAt = 0; // when the draft was begun, 0 where there is none
  finding: [done: number, all: number] | null = null;
  private readonly turns = new Turns();
  private cost: { key: string; seconds: number } | null = null; // of the mask that is being kept

  constructor(
    readonly entry: ImageEntry,
    hw: Size,
    readonly work: Work,
    readonly sight: Sight,
    private readonly host: EditorHost,
  ) {
    this.hw = hw;
    this.map = new LabelMap(hw);
    this.diary = new Diary(entry.id, host.outbox, () => host.tool());
    this.result = NOTHING(hw);
    this.drafting = new Drafting(
      () => host.model(),
      sight.key,
      hw,
      () => host.granularity(),
      (text) => host.say(text),
    );
    this.refresh();
  }

  get state(): State {
    return this.work.state;
  }

  get draft(): Draft {
    return this.work.state.draft;
  }

  find(key: string | null): Mask | null {
    if (key === null) return null;
    const has = (mask: Mask) => mask.key === key;
    return this.state.masks.find(has) ?? this.spare.find(has) ?? null;
  }

  /** The masks that are there for the eye, whether their layer is shown or not. */
  get shown(): readonly Mask[] {
    return shownMasks(this.state.masks, this.spare, this.host.layers().least);
  }

  get selected(): Mask | null {
    return this.find(this.state.selected);
  }

  /** One step that undo takes back. */
  act(what: string, change: Partial<State>, detail?: Record<string, unknown>): void {
    const before = this.state;
    const begins = change.draft && !change.draft.fixes && isEmpty(before.draft);
    this.work.act(what, { ...(begins && { ...forNext(before), ...NONE }), ...change });
    this.diary.note(what, detail);
    this.after(before);
  }

  /** A step on the draft alone; while a mask is being kept, on the next draft. */
  say(what: string, change: (draft: Draft) => Partial<Draft>): void {
    this.turns.take(() => this.act(what, { draft: { ...this.draft, ...change(this.draft) } }));
  }

  tell = (text: string) => this.host.say(text);
  undo = () => this.move("undo");
  redo = () => this.move("redo");

  private move(way: "undo" | "redo"): void {
    this.turns.take(() => {
      const before = this.state;
      const what = this.work[way]();
      if (what) this.diary.note(way, { what });
      this.after(before);
    });
  }

  private after(before: State): void {
    const { image, masks } = { image: this.entry.id, masks: this.state.masks };
    if (before.masks !== masks) {
      this.send(image, difference(before.masks, masks));
      this.host.counted(image, masks.filter((mask) => mask.state !== "rejected").length);
    }
    if (isEmpty(this.draft)) this.startedAt = 0;
    else if (!this.startedAt) this.startedAt = performance.now();
    this.preview = null;
    this.host.keepDraft(this, this.state);
    this.refresh();
    if (before.draft !== this.draft) void this.update();
    this.host.changed();
  }

  private send(image: string, { saved, removed }: ReturnType<typeof difference>): void {
    for (const { key } of removed) this.diary.add({ kind: "remove", image, key });
    for (const mask of saved) {
      const seconds = this.cost?.key === mask.key ? this.cost.seconds : 0;
      const record = { ...toSent(mask), seconds };
      this.diary.add({ kind: "save", image, key: mask.key, record });
    }
  }

  /** Everything is with the outbox, the mask that is being kept, too. */
  async settled(): Promise<void> {
    await this.turns.over();
    await this.diary.settled();
  }

  refresh(): void {
    this.map.set(this.shown, this.host.layers(), this.draft.fixes);
  }

  /**
   * Bring the draft's mask up to date; of several calls only the last one is shown. As the model
   * draws it at first; when nothing has changed for a moment, with its edge where the image has it.
   */
  async update(): Promise<void> {
    const turn = ++this.thinking;
    const { draft, drafting } = this;
    const still = () => turn === this.thinking;
    try {
      const result = await drafting.predict(draft, this.find(draft.fixes));
      if (still()) this.result = result;
      this.host.changed();
      const fine = still() && (await drafting.settle(result, draft, still));
      if (fine && still()) this.result = fine;
    } catch (error) {
      if (still()) this.host.say((error as Error).message);
    }
    this.host.changed();
  }

  click(x: number, y: number, label: 0 | 1): void {
    const click: Click = { x, y, label };
    if (!this.host.model()) return this.host.say("No model is loaded. Draw with the brush.");
    this.say(label ? "click" : "negative click", ({ clicks, candidate }) => ({
      clicks: [...clicks, click],
      candidate: clicks.length ? candidate : 0,
      rings: null,
    }));
  }

  /** The mask under the pointer, if the model has the time. Resolves when it can be drawn. */
  async hover(x: number, y: number, label: 0 | 1): Promise<boolean> {
    const model = this.host.model();
    const { draft } = this;
    const drawn = draft.rings !== null || draft.strokes.length > 0 || draft.fixes !== null;
    if (!model || !this.encoded || drawn || this.finding || (!asksModel(draft) && !label))
      return false;
    const clicks = [...draft.clicks, { x, y, label }];
    const prompt = () => this.drafting.promptOf({ ...draft, clicks });
    const granularity = this.host.granularity();
    const { forgotten } = this;
    const preview = await model
      .hover(this.sight.key, prompt, HOVER_LIMIT, granularity)
      .catch(() => null);
    if (!preview || draft !== this.draft || forgotten !== this.forgotten) return false;
    this.preview = preview;
    return true;
  }

  /** The pointer is no longer over the image, nor is what it pointed at. */
  forget(): void {
    this.forgotten++;
    this.preview = this.hovered = null;
  }

  choose(candidate: number): void {
    const count = this.result.candidates.length;
    if (count < 2) return;
    this.say("candidate", () => ({ candidate: (candidate + count) % count }));
  }

  drop(): void {
    this.turns.take(() => {
      if (!isEmpty(this.draft)) this.act("discard", { draft: NO_DRAFT });
      else if (this.state.selected) this.select(null);
    });
  }

  /** Keep the draft as a mask; what is said until it is kept is about the next one. */
  accept(): Promise<Mask | null> {
    return this.host.unfinished.during(this, {}, () => this.turns.keep(() => this.keep()));
  }

  private async keep(): Promise<Mask | null> {
    const likely = this.state.label.trim() ? null : this.host.likelyName(this);
    const said = likely === null ? this.state : { ...this.state, label: likely, next: "" };
    const { draft } = said;
    if (isEmpty(draft)) return null;
    const old = this.find(draft.fixes);
    const result = await this.drafting.finish(draft, old).catch((error: Error) => {
      this.host.say(error.message);
      return null;
    });
    if (!result) return null;
    if (isEmptyResult(result)) {
      this.host.say("The mask is empty and was not kept. Click the object, or paint it.");
      return null;
    }
    const mask = madeMask(result, said, old, this.host.model(), this.sight.page);
    const twin = old ? null : twinOf(this.state.masks, mask, draft);
    if (twin) {
      this.act("mask", { ...forTwin(twin, said), ...forNext(said) });
      const place = this.state.masks.findIndex(({ key }) => key === twin.key);
      this.host.say(`This object already has a mask: mask ${place + 1}.`);
      return twin;
    }
    const all = withMask(this.state.masks, mask);
    const masks = this.host.takes() ? withoutOverlap(all, [mask]) : all;
    const seconds = Math.round(performance.now() - this.startedAt) / 1000;
    this.cost = { key: mask.key, seconds };
    this.act("mask", { masks, draft: NO_DRAFT, ...NONE, ...forNext(said) });
    this.cost = null;
    this.diary.kept(mask.key, seconds);
    return mask;
  }

  /** Select a mask; `more`: beside those that are, or no longer. */
  select(key: string | null, more = false): void {
    const before = this.selection.map((one) => one.key);
    let keys = key === null ? [] : [key];
    if (more && key !== null) {
      keys = before.includes(key) ? before.filter((one) => one !== key) : [...before, key];
    }
    const first = this.find(keys[0] ?? null);
    const next = activeLabel(this.state);
    const shown = first ? { label: first.label ?? "", next } : forNext(this.state);
    this.work.quietly({ selected: keys[0] ?? null, also: keys.slice(1), ...shown });
    this.host.changed();
  }

  /** The selected masks, the one that was selected first at the front. */
  get selection(): Mask[] {
    const keys = [this.state.selected, ...(this.state.also ?? [])];
    return keys.map((key) => this.find(key)).filter((mask) => mask !== null);
  }

  /** Whether a mask may be changed; where not, the user is told. */
  free(masks: readonly Mask[]): boolean {
    const locked = masks.some((mask) => mask.notes?.locked);
    if (locked) this.host.say("This mask is locked. Unlock it first (Z).");
    return !locked;
  }

  /** Start fixing the selected mask, with the brush or as an outline. */
  edit(outline: boolean): void {
    const mask = this.selected;
    if (!mask || !isEmpty(this.draft) || !this.free([mask])) return;
    if (!this.state.masks.includes(mask)) this.add("proposed", [mask], false);
    this.host.corrects();
    this.forget();
    this.act("edit", { draft: { ...NO_DRAFT, fixes: mask.key } });
    if (outline) void this.outlined();
  }

  /** The draft as outlines whose corners can be moved. */
  async outlined(): Promise<void> {
    const draft = this.draft;
    if (draft.rings || isEmpty(draft)) return;
    const result = await this.drafting.finish(draft, this.find(draft.fixes)).catch(() => null);
    if (!result || isEmptyResult(result)) return;
    const rings = tracePatch(result.patch).map((ring) => simplified(ring, 1.2));
    this.turns.take(() => {
      if (draft === this.draft) this.act("outline", { draft: { ...draft, rings, strokes: [] } });
    });
  }

  /** Change what is kept about the selected masks. */
  change(what: string, how: (mask: Mask) => Partial<Mask>): void {
    const chosen = new Set(this.selection.map((mask) => mask.key));
    if (!chosen.size) return;
    const change = (one: Mask) => (chosen.has(one.key) ? { ...one, ...how(one) } : one);
    this.act(what, { masks: withSpare(this.state.masks, this.spare, chosen).map(change) });
  }

  /** Name the object: the selected mask, or the one in the making (`once`: it alone). */
  name(label: string, once = false): void {
    this.host.learn(label.trim());
    this.turns.take(() => {
      const next = once ? (this.state.next ?? "") : undefined;
      if (!this.selected || !isEmpty(this.draft)) {
        const said = this.state.label === label && this.state.next === next;
        if (!said) this.act("label", { label, next });
      } else if (this.selection.some((one) => (one.label ?? "") !== label.trim() || isGuess(one))) {
        this.work.quietly({ label, next });
        this.change("label", (mask) => labelFields(mask, label));
      }
    });
  }

  /** Every mask of a name gets another one, or goes; in the steps back, too. */
  relabel(old: string, to: string | null, gone: boolean): void {
    const remade = (mask: Mask) => (gone ? null : { ...mask, label: to });
    this.work.remake(
      (mask) => (mask.label === old ? remade(mask) : mask),
      (label) => (label === old ? (to ?? "") : label),
    );
    this.refresh();
    this.host.changed();
  }

  remove(): void {
    const gone = new Set(this.selection);
    if (!gone.size) return this.drop();
    if (!this.free([...gone])) return;
    const masks = this.state.masks.filter((one) => !gone.has(one));
    this.spare = this.spare.filter((one) => !gone.has(one));
    this.act("delete", { masks, ...NONE, ...forNext(this.state) });
  }

  /** Proposals that become masks of their own, or go; `label` for those without a name. */
  judge(keys: readonly string[], state: "accepted" | "rejected", label = ""): void {
    const chosen = new Set(keys);
    const all = withSpare(this.state.masks, this.spare, chosen);
    const judged = (one: Mask): Mask => {
      const named = label && (one.label === null || isGuess(one)) ? labelFields(one, label) : {};
      return { ...one, ...named, state };
    };
    let masks: readonly Mask[] = all.map((one) => (chosen.has(one.key) ? judged(one) : one));
    for (const one of masks) if (one.label && one.state === "accepted") this.host.learn(one.label);
    if (state === "accepted" && this.host.takes()) {
      masks = withoutOverlap(
        masks,
        masks.filter((one) => chosen.has(one.key)),
      );
    }
    const what = state === "accepted" ? "accept" : "reject";
    this.act(what, { masks, ...NONE, ...forNext(this.state) });
  }

  /** Add masks, or change them; those that the store knows already are not sent again. */
  add(what: string, masks: Mask[], known: boolean): void {
    const keys = new Set(masks.map((mask) => mask.key));
    const all = [...this.state.masks.filter((mask) => !keys.has(mask.key)), ...masks];
    if (!known) return this.act(what, { masks: all });
    this.work.act(what, { masks: all });
    this.refresh();
    this.host.changed();
  }
}
