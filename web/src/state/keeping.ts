/** Keeping the mask in the making: one after the other, and what is said meanwhile comes behind. */

import { patchToRle } from "../masks/patch";
import { rleArea, rleBox, rleIou } from "../masks/rle";
import type { Model } from "../model/client";
import { provenanceOf, type DraftResult } from "./drafting";
import { NO_DRAFT, labelFields, type Draft, type Mask, type State } from "./work";

/** Steps in the order in which they were asked for, though a mask takes its time to be kept. */
export class Turns {
  private last: Promise<unknown> | null = null;

  /** Keep a mask: at once, or behind the one that is being kept. */
  keep<T>(how: () => Promise<T>): Promise<T> {
    const kept = this.last ? this.last.then(how) : how();
    const over = () => {
      if (this.last === done) this.last = null;
    };
    const done = kept.then(over, over);
    this.last = done;
    return kept;
  }

  /** Take a step: at once, or behind the mask that is being kept, as it is about the next one. */
  take(step: () => void): void {
    if (this.last) void this.last.then(step);
    else step();
  }

  /** No mask is being kept any more. */
  async over(): Promise<void> {
    while (this.last) await this.last;
  }
}

/** The mask that a draft becomes. */
export function madeMask(
  result: DraftResult,
  { draft, label }: State,
  old: Mask | null,
  model: Model | null,
  page: number,
): Mask {
  const rle = patchToRle(result.patch);
  return {
    key: old?.key ?? crypto.randomUUID(),
    rle,
    box: rleBox(rle),
    area: rleArea(rle),
    score: draft.strokes.length ? null : result.score,
    state: "accepted",
    provenance: provenanceOf(draft, old, model),
    ...(old?.label === label ? { label, notes: old.notes } : labelFields(old ?? {}, label)),
    page,
  };
}

const TWIN = 0.95; // IoU from which two masks are the same object

/** The accepted mask that already covers the same object; null for a mask drawn by hand. */
export function twinOf(masks: readonly Mask[], mask: Mask, draft: Draft): Mask | null {
  if (draft.strokes.length || draft.rings) return null;
  const close = (one: Mask) =>
    Math.min(one.area, mask.area) >= TWIN * Math.max(one.area, mask.area) &&
    rleIou(one.rle, mask.rle) >= TWIN;
  return masks.find((one) => one.state === "accepted" && close(one)) ?? null;
}

/** The masks with this one in its place, or behind them where it is new. */
export function withMask(masks: readonly Mask[], mask: Mask): Mask[] {
  const place = masks.findIndex(({ key }) => key === mask.key);
  return place < 0 ? [...masks, mask] : masks.with(place, mask);
}

/** The object has a mask already: it is selected, and gets the class that was chosen. */
export function forTwin(twin: Mask, said: State): Partial<State> {
  const label = said.label.trim();
  const renamed = label !== "" && label !== twin.label && !twin.notes?.locked;
  const mask = renamed ? { ...twin, ...labelFields(twin, label) } : twin;
  const masks = renamed ? withMask(said.masks, mask) : said.masks;
  return { masks, draft: NO_DRAFT, selected: mask.key, also: [] };
}
