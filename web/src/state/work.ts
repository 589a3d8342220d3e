/** The work on one image: masks, the draft, and the way back and forth between their states. */

import type { BoxXyxy } from "../model/geometry";
import type { Click } from "../model/negative_clicks";
import type { Ring } from "../masks/outline";
import { cocoToRle, rleToCoco, type BoxXywh, type Rle } from "../masks/rle";
import type { Stroke } from "../masks/strokes";
import type { Draft as Sent, Notes, SavedRecord, Status } from "../store/store";

/** A mask of the image. Nothing in it ever changes; a changed mask is a new object. */
export interface Mask {
  key: string;
  rle: Rle;
  box: BoxXywh;
  area: number;
  score: number | null;
  label: string | null;
  state: Status;
  provenance: Record<string, unknown>;
  notes?: Notes;
  page?: number; // of the image's file; the first one where it is not said
}

/** The object that is being made or fixed: what was said about it so far. */
export interface Draft {
  clicks: readonly Click[];
  box: BoxXyxy | null;
  lasso: Ring | null;
  rings: readonly Ring[] | null; // outlines drawn or edited by hand; they replace the model's mask
  strokes: readonly Stroke[];
  candidate: number;
  fixes: string | null; // the key of the mask that this draft will replace
}

export const NO_DRAFT: Draft = {
  clicks: [],
  box: null,
  lasso: null,
  rings: null,
  strokes: [],
  candidate: 0,
  fixes: null,
};

/** Everything that undo brings back. */
export interface State {
  masks: readonly Mask[];
  draft: Draft;
  label: string;
  next?: string; // the label of the next object, where `label` is this object's alone
  selected: string | null;
  also?: readonly string[]; // selected beside it
}

export const asksModel = (draft: Draft) =>
  draft.clicks.length > 0 || draft.box !== null || draft.lasso !== null;

export const isEmpty = (draft: Draft) =>
  !asksModel(draft) && !draft.rings?.length && !draft.strokes.length && draft.fixes === null;

/** Whether more was said than which mask is to be fixed. */
export const isChanged = (draft: Draft) => !isEmpty({ ...draft, fixes: null });

/** Whether a mask's name is a model's guess that nobody has confirmed. */
export const isGuess = ({ label, notes }: Mask) => label !== null && !!notes?.label_probability;

/** What a mask is once a person has said its name; an empty one is none. */
export function labelFields({ notes }: Pick<Mask, "notes">, label: string) {
  const { label_probability: _, ...rest } = notes ?? {};
  return { label: label.trim() || null, notes: rest };
}

/** The class that the next object gets. */
export const activeLabel = ({ label, next = label }: State) => next;

/** What a label that was one object's alone is for the next one. */
export const forNext = (state: State) => ({ label: activeLabel(state), next: undefined });

const MOST = 500; // steps kept

export class Work {
  private past: { state: State; what: string }[] = [];
  private future: { state: State; what: string }[] = [];

  constructor(private current: State) {}

  get state(): State {
    return this.current;
  }

  /** Go to a new state; `what` names the step in words, "undo click". */
  act(what: string, change: Partial<State>): void {
    this.past.push({ state: this.current, what });
    if (this.past.length > MOST) this.past.shift();
    this.future = [];
    this.current = { ...this.current, ...change };
  }

  /** Change what is not a step of its own, such as the selection. */
  quietly(change: Partial<State>): void {
    this.current = { ...this.current, ...change };
  }

  undo(): string | null {
    return this.move(this.past, this.future);
  }

  redo(): string | null {
    return this.move(this.future, this.past);
  }

  /** How many steps undo can go back. */
  get depth(): number {
    return this.past.length;
  }

  get undoable(): string | null {
    return this.past.at(-1)?.what ?? null;
  }

  get redoable(): string | null {
    return this.future.at(-1)?.what ?? null;
  }

  /** Let a mask have been another one, or none, in every state: past, present and future. */
  remake(change: (mask: Mask) => Mask | null, label = (text: string) => text): void {
    const known = new WeakMap<Mask, Mask>(); // a mask that two states share stays one
    this.everywhere((state) => ({
      ...state,
      label: label(state.label),
      next: state.next && label(state.next),
      masks: state.masks.flatMap((mask) => {
        const made = known.get(mask) ?? change(mask);
        if (made) known.set(mask, made);
        return made ? [made] : [];
      }),
    }));
  }

  /** Let masks have been as somebody else has made them, and others have never been there. */
  meet(theirs: readonly Mask[], gone: ReadonlySet<string>): void {
    const changed = new Map(theirs.map((mask) => [mask.key, mask]));
    const here = new Set(this.current.masks.map((mask) => mask.key));
    const fresh = theirs.filter((mask) => !here.has(mask.key));
    this.remake((mask) => (gone.has(mask.key) ? null : (changed.get(mask.key) ?? mask)));
    const isGone = (key: string | null) => key !== null && gone.has(key);
    this.everywhere(({ masks, draft, selected, also, ...same }) => {
      const known = new Set(masks.map((mask) => mask.key));
      return {
        ...same,
        masks: [...masks, ...fresh.filter((mask) => !known.has(mask.key))],
        draft: isGone(draft.fixes) ? { ...draft, fixes: null } : draft,
        selected: isGone(selected) ? null : selected,
        also: also?.filter((key) => !gone.has(key)),
      };
    });
  }

  private everywhere(change: (state: State) => State): void {
    for (const step of [...this.past, ...this.future]) step.state = change(step.state);
    this.current = change(this.current);
  }

  private move(from: typeof this.past, to: typeof this.past): string | null {
    const step = from.pop();
    if (!step) return null;
    to.push({ state: this.current, what: step.what });
    this.current = step.state;
    return step.what;
  }
}

/** Masks that came, changed or went between two states. */
export function difference(before: readonly Mask[], after: readonly Mask[]) {
  const old = new Map(before.map((mask) => [mask.key, mask]));
  const kept = new Set(after.map((mask) => mask.key));
  return {
    saved: after.filter((mask) => old.get(mask.key) !== mask),
    removed: before.filter((mask) => !kept.has(mask.key)),
  };
}

export function toSent(mask: Mask): Sent {
  const { rle, notes = {}, page = 0, key: _, ...same } = mask;
  return { ...same, rle: rleToCoco(rle), notes, page };
}

export function toMask(record: SavedRecord | Sent, key: string): Mask {
  const { box, area, score, label, state, provenance, notes = {}, page = 0 } = record;
  const rle = cocoToRle(record.rle);
  const about = { score, label, state, provenance: provenance ?? {}, notes, page };
  return { key, rle, box, area, ...about };
}
