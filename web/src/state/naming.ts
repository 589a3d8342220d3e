/** Names that the model suggests: for the object that has none yet, and for all that have none. */

import { patchArea, patchToRle, type Patch } from "../masks/patch";
import type { Rle } from "../masks/rle";
import type { Suggestion } from "../model/name_table";
import type { Namer } from "../store/namer";
import { StoreError } from "../store/store";
import type { Editor } from "./editor";
import { withSpare } from "./everything";
import type { Session } from "./session";
import { isEmpty, isGuess, type Mask } from "./work";

const STILL_MS = 400; // an object that is meant so long is asked about
const MOST = 3; // names of one object
const SURE = 0.4; // probability from which a class is suggested
const AT_ONCE = 64; // masks of one question

/** What a name is asked for: `of` stays while the shape of one object changes. */
interface Nameless {
  editor: Editor;
  of: string;
  shape: Patch | Rle;
}

/** Whether a model's name would overwrite nothing that a person said. */
const nameless = (mask: Mask) =>
  mask.label === null && mask.state !== "rejected" && !mask.notes?.locked;

export class Naming {
  shown: readonly Suggestion[] = [];
  busy = false; // with all masks of the image
  private of = "";
  private shape: unknown = null;
  private waiting: ReturnType<typeof setTimeout> | undefined;
  private asked: AbortController | null = null;

  constructor(
    private readonly session: Session,
    private readonly namer: Namer,
  ) {}

  /** Whether there is somebody to ask about the open image. */
  get able(): boolean {
    const { editor } = this.session;
    return !!editor?.encoded && !!this.session.model()?.names;
  }

  /** Masks of the open image that a name can be suggested for, the slider's among them. */
  get nameless(): readonly Mask[] {
    if (!this.able) return [];
    const { state, spare, shown } = this.session.editor!;
    return withSpare(state.masks, spare, new Set(shown.map(({ key }) => key))).filter(nameless);
  }

  /** Ask about the object that is meant now, once it stays the same for a moment. */
  follow(): void {
    const object = this.able ? namelessObject(this.session.editor!) : null;
    if ((object?.shape ?? null) === this.shape) return;
    this.shape = object?.shape ?? null;
    clearTimeout(this.waiting);
    this.asked?.abort();
    const of = object ? `${object.editor.sight.key} ${object.of}` : "";
    if (of !== this.of && this.shown.length) {
      this.shown = [];
      this.session.changed();
    }
    this.of = of;
    if (object) this.waiting = setTimeout(() => void this.suggest(object), STILL_MS);
  }

  private async suggest({ editor, shape }: Nameless): Promise<void> {
    const rle = "data" in shape ? patchArea(shape) > 0 && patchToRle(shape) : shape;
    if (!rle) return;
    const asked = (this.asked = new AbortController());
    const found = await this.likely(editor, [rle], asked.signal).catch(() => null);
    if (!found || asked.signal.aborted) return; // masks are made without names, too
    this.shown = found[0].filter((one) => one.probability >= SURE);
    this.session.changed();
  }

  /** The likeliest names: of the project's alone, or of all that the model knows where the project
   * has none, or none that the model knows. */
  private async likely(editor: Editor, rles: readonly Rle[], signal: AbortSignal) {
    const names = this.session.labels.all.map((one) => one.name);
    return (await this.ask(editor, rles, names, signal)).suggestions;
  }

  /** The name that the object in the making gets by itself: a sure one of the project's. */
  likelyName(editor: Editor): string | null {
    const object = namelessObject(editor);
    const [first] = this.shown;
    if (!object || !first || first.probability < SURE || isEmpty(editor.draft)) return null;
    if (this.of !== `${editor.sight.key} ${object.of}`) return null;
    return this.session.labels.all.some((one) => one.name === first.label) ? first.label : null;
  }

  /** Where a server has forgotten the image it sees it once more. */
  private async ask(
    editor: Editor,
    rles: readonly Rle[],
    names: readonly string[],
    signal: AbortSignal,
  ) {
    const { session, namer } = this;
    const { entry, sight } = editor;
    const image = (await session.model()?.imageHashOf(sight.key)) ?? "";
    const wish = { key: sight.key, image, masks: rles, names, top: MOST };
    try {
      return await namer.ask(wish, signal);
    } catch (error) {
      if (!(error instanceof StoreError) || error.kind !== "refused") throw error;
      await session.store.features(entry.id, sight.request);
      return namer.ask(wish, signal);
    }
  }

  /** Give the object the nth of the names that are shown. */
  take(place: number): void {
    const one = this.shown[place];
    if (one) this.session.editor?.name(one.label, true);
    else if (this.able) this.session.say("No class is suggested for this object.");
  }

  /** Give every nameless mask its likeliest name, as a guess; one step. */
  async nameAll(): Promise<void> {
    const { session } = this;
    const { editor } = session;
    if (!editor || this.busy) return;
    if (!this.able) return session.say("This model does not suggest classes.");
    const masks = this.nameless;
    if (!masks.length) return session.say("All masks have a class.");
    this.busy = true;
    session.changed();
    try {
      const guesses = await this.guesses(editor, masks);
      if (editor === session.editor) this.give(editor, masks.length, guesses);
    } catch (error) {
      session.say(`Classes could not be suggested. ${(error as Error).message}`);
    } finally {
      this.busy = false;
      session.changed();
    }
  }

  private async guesses(editor: Editor, masks: readonly Mask[]): Promise<Map<string, Suggestion>> {
    const found = new Map<string, Suggestion>();
    const { signal } = new AbortController();
    for (let start = 0; start < masks.length && editor === this.session.editor; start += AT_ONCE) {
      const part = masks.slice(start, start + AT_ONCE);
      const rles = part.map((mask) => mask.rle);
      for (const [i, [first]] of (await this.likely(editor, rles, signal)).entries()) {
        if (first?.probability >= SURE) found.set(part[i].key, first);
      }
    }
    return found;
  }

  private give(editor: Editor, asked: number, guesses: Map<string, Suggestion>): void {
    const named = (mask: Mask): Mask => {
      const guess = guesses.get(mask.key);
      if (!guess || !nameless(mask)) return mask; // somebody was quicker
      const notes = { ...mask.notes, label_probability: guess.probability };
      return { ...mask, label: guess.label, notes };
    };
    const all = withSpare(editor.state.masks, editor.spare, new Set(guesses.keys()));
    const masks = all.map(named);
    const count = masks.filter((mask, i) => mask !== all[i]).length;
    const { session } = this;
    if (!count) return session.say("No class was predicted with enough confidence.");
    for (const { label } of guesses.values()) session.learn(label);
    editor.act("suggested classes", { masks });
    session.say(`${count} of ${asked} masks got a suggested class. Ctrl+Z undoes this.`);
  }
}

/** The object in the making or the picked mask, if nobody has named it. */
function namelessObject(editor: Editor): Nameless | null {
  const { draft, state, result } = editor;
  if (!isEmpty(draft)) {
    if (state.label.trim()) return null;
    return { editor, of: `draft ${editor.startedAt}`, shape: result.patch };
  }
  const [mask, ...more] = editor.selection;
  if (!mask || more.length || (mask.label !== null && !isGuess(mask))) return null;
  return { editor, of: mask.key, shape: mask.rle };
}
