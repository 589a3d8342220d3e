/** From what was said about an object to its mask on the screen, and to the mask that is kept. */

import { fillRings } from "../masks/outline";
import { emptyPatch, patchArea, rleToPatch, type Patch } from "../masks/patch";
import { rleToCoco } from "../masks/rle";
import { withStroke, type Stroke } from "../masks/strokes";
import type { Kept, Model } from "../model/client";
import { LONGEST } from "../model/edges";
import type { Size } from "../model/geometry";
import type { Granularity } from "../model/granularity";
import { refusal, type Prompt } from "../model/prompts";
import type { Candidate, Fine } from "../model/segment";
import type { Previous } from "../model/steps";
import { mended, middleOf } from "./mending";
import { asksModel, type Draft, type Mask } from "./work";

/** A draft as it looks now. */
export interface DraftResult extends Kept {
  patch: Patch; // at full size or reduced, see `patch.hw`
  candidates: Candidate[];
  violated: number[];
  score: number | null;
  mend?: (patch: Patch) => Patch; // of a mask that is there: what the clicks change of it
}

const SETTLED_MS = 150; // a mask that is meant so long is refined; those of a sweep are not
const FULL = 4_000_000; // images of at most so many pixels are shown pixel for pixel at once

const SHOWN = 24; // answers whose logits are kept for further clicks

const limitFor = ([height, width]: Size) => (height * width > FULL ? LONGEST : 0);

export const NOTHING = (hw: Size): DraftResult => ({
  patch: emptyPatch(hw),
  candidates: [],
  violated: [],
  score: null,
  keep: "",
  closer: false,
});

/** A mask that is being made fine. */
interface Refining {
  mask: string; // the answer and the candidate's place
  whole: boolean;
  kept: boolean; // somebody waits to keep it, whatever is meant next
  fine: Promise<Fine | null>;
}

export class Drafting {
  private asked: { prompt: string; answer: Promise<Omit<DraftResult, "patch">> } | null = null;
  private readonly shown = new Map<string, Float32Array[]>(); // logits of what was asked
  private newest: { mask: string; fine: Fine } | null = null;
  private refining: Refining | null = null;
  private painted: { base: Patch; strokes: readonly Stroke[]; patch: Patch } | null = null;

  constructor(
    private readonly model: () => Model | null,
    private readonly image: string,
    private readonly hw: Size,
    private readonly granularity: () => Granularity,
    private readonly say: (text: string) => void = () => undefined,
  ) {}

  /** Clicks add to a mask that is being fixed, or take away from it; a box begins anew. */
  promptOf(draft: Draft, fixed: Mask | null = null): Prompt {
    const { clicks, box, lasso } = draft;
    if (fixed && !box) {
      const mask = rleToPatch(fixed.rle);
      return { clicks: [...middleOf(mask, clicks), ...clicks], box, mask };
    }
    const mask = lasso ? fillRings([lasso], this.hw) : null;
    return { clicks, box, mask, previous: this.previousOf(draft) };
  }

  /** What was shown for fewer of the clicks: a click corrects it, and without it, it is shown. */
  private previousOf(draft: Draft): Previous | null {
    const { clicks, box, lasso, candidate } = draft;
    if (!this.model()?.manifest.spec.accepts.includes("mask")) return null;
    for (let count = clicks.length - 1; count >= 0; count--) {
      const first = clicks.slice(0, count);
      if (!box && !lasso && !first.some(({ label }) => label)) return null; // about no object
      const shown = this.shown.get(this.nameOf({ ...draft, clicks: first }, null));
      if (shown) return { logits: shown[Math.min(candidate, shown.length - 1)], clicks: count };
    }
    return null;
  }

  /** What the model is asked; of several candidates of a click, further ones correct the chosen. */
  private nameOf({ clicks, box, lasso, candidate }: Draft, fixed: Mask | null): string {
    return JSON.stringify([
      clicks,
      box,
      lasso,
      fixed && !box ? rleToCoco(fixed.rle).counts : null,
      this.granularity(),
      clicks.length > 1 ? candidate : 0,
    ]);
  }

  /** The draft's mask. Throws with a text for the user. */
  async predict(draft: Draft, fixed: Mask | null): Promise<DraftResult> {
    const result = await this.base(draft, fixed);
    if (!draft.strokes.length) return result;
    const whole = await this.whole(result, draft);
    return { ...whole, patch: this.paint(whole.patch, draft.strokes) };
  }

  /** The draft's mask, pixel for pixel. */
  async finish(draft: Draft, fixed: Mask | null): Promise<DraftResult> {
    const result = await this.predict(draft, fixed);
    return draft.strokes.length ? result : this.whole(result, draft);
  }

  private async base(draft: Draft, fixed: Mask | null): Promise<DraftResult> {
    if (draft.rings) return { ...NOTHING(this.hw), patch: fillRings(draft.rings, this.hw) };
    if (asksModel(draft)) {
      const answer = await this.ask(draft, fixed);
      const index = chosenOf(draft, answer);
      const { patch, score } = answer.candidates[index];
      const old = fixed && !draft.box ? rleToPatch(fixed.rle) : null;
      const mend = (part: Patch) => mended(old!, part, draft.clicks);
      const result = {
        ...answer,
        patch,
        score,
        ...(old && { mend, patch: mend(patch), violated: [] }),
      };
      const fine = this.fineOf(answer.keep, index);
      return fine ? finer(result, index, fine) : result;
    }
    if (fixed) return { ...NOTHING(this.hw), patch: rleToPatch(fixed.rle), score: fixed.score };
    return NOTHING(this.hw);
  }

  private ask(draft: Draft, fixed: Mask | null): Promise<Omit<DraftResult, "patch">> {
    const model = this.model();
    if (!model) return Promise.reject(new Error("No model is loaded. Draw with the brush."));
    const refused = refusal(this.promptOf(draft, fixed), model.manifest.spec);
    if (refused) return Promise.reject(new Error(refused));
    const asked = this.nameOf(draft, fixed);
    if (this.asked?.prompt === asked) return this.asked.answer;
    const granularity = this.granularity();
    const before = this.asked?.answer.catch(() => null); // this prompt may correct its mask
    const answer = Promise.resolve(before).then(async () => {
      const prompt = this.promptOf(draft, fixed);
      const limit = limitFor(this.hw);
      const { logits, ...reply } = await model.answer(this.image, prompt, limit, granularity);
      this.shown.set(asked, logits);
      for (const old of this.shown.keys()) if (this.shown.size > SHOWN) this.shown.delete(old);
      return { ...reply, score: null };
    });
    this.asked = { prompt: asked, answer };
    this.refining = null; // what was meant before
    answer.catch(() => (this.asked = null));
    return answer;
  }

  /**
   * What is shown, after a closer look and with its edge where the image has it, once it is `still`
   * meant after a moment; null where it stays as it is.
   */
  async settle(
    result: DraftResult,
    draft: Draft,
    still: () => boolean,
  ): Promise<DraftResult | null> {
    const index = chosenOf(draft, result);
    const asked = result.candidates.length > 0 && !draft.strokes.length && this.refines(result);
    if (!asked || this.fineOf(result.keep, index)) return null;
    await new Promise((resume) => setTimeout(resume, SETTLED_MS));
    if (!still()) return null;
    const fine = await this.refined(result, index, !limitFor(this.hw), false);
    return fine && finer(result, index, fine);
  }

  private refines({ closer }: Kept): boolean {
    return closer || Boolean(this.model()?.refines);
  }

  /** What was refined last, if it is this answer. */
  private fineOf(keep: string, index: number): Fine | null {
    return this.newest?.mask === `${keep} ${index}` ? this.newest.fine : null;
  }

  /** The refined mask of an answer, asked for once, or null; where that fails, the user is told. */
  private refined(result: DraftResult, index: number, whole: boolean, kept: boolean) {
    const mask = `${result.keep} ${index}`;
    if (this.refining?.mask !== mask || this.refining.whole !== whole) {
      const one: Refining = { mask, whole, kept, fine: Promise.resolve(null) };
      this.refining = one;
      one.fine = this.askFine(result, index, whole, () => one.kept || this.refining?.mask === mask);
    }
    this.refining.kept ||= kept;
    return this.refining.fine;
  }

  private async askFine(result: DraftResult, index: number, whole: boolean, still: () => boolean) {
    const model = this.model();
    if (!model || !this.refines(result)) return null;
    try {
      const fine = await model.refine(this.image, result, index, whole, still);
      if (fine) this.newest = { mask: `${result.keep} ${index}`, fine };
      return fine;
    } catch (error) {
      this.refining = null; // the next look tries again
      this.say(`The edge of the mask was not refined. ${(error as Error).message}`);
      return null;
    }
  }

  /** The same, pixel for pixel. */
  private async whole(result: DraftResult, draft: Draft): Promise<DraftResult> {
    const isWhole = ({ hw }: Patch) => hw[0] === this.hw[0] && hw[1] === this.hw[1];
    if (!result.candidates.length) return result;
    const index = chosenOf(draft, result);
    if (this.fineOf(result.keep, index) && isWhole(result.patch)) return result;
    const fine = await this.refined(result, index, true, true);
    if (fine) return finer(result, index, fine);
    if (isWhole(result.patch)) return result;
    const patch = await this.model()!.cut(result.keep, index);
    return { ...result, patch: result.mend?.(patch) ?? patch };
  }

  /** The strokes over a mask; those painted before are not painted again. */
  private paint(base: Patch, strokes: readonly Stroke[]): Patch {
    const before = this.painted;
    const goesOn =
      before?.base === base && before.strokes.every((stroke, i) => stroke === strokes[i]);
    let patch = goesOn && before ? before.patch : base;
    const start = goesOn && before ? before.strokes.length : 0;
    for (const stroke of strokes.slice(start)) patch = withStroke(patch, stroke);
    this.painted = { base, strokes, patch };
    return patch;
  }
}

/** What is shown, with one of its masks as it is kept. */
function finer(result: DraftResult, index: number, fine: Fine): DraftResult {
  const candidates = result.candidates.map((one, i) =>
    i === index ? { ...one, patch: fine.patch, score: fine.score } : one,
  );
  const { mend } = result;
  return { ...result, ...fine, ...(mend && { patch: mend(fine.patch), violated: [] }), candidates };
}

/** The place of the candidate that a draft means. */
const chosenOf = (draft: Draft, { candidates }: Pick<DraftResult, "candidates">) =>
  Math.min(draft.candidate, candidates.length - 1);

/** Where a mask comes from that a person kept: what was said about it, and the model, if any. */
export function provenanceOf(
  draft: Draft,
  old: Mask | null,
  model: Model | null,
): Record<string, unknown> {
  const told = asksModel(draft) ? model?.manifest : undefined;
  return {
    ...old?.provenance,
    by: "human",
    ...(told && { model: told.name, model_hash: told.weights_hash }),
    points: draft.clicks.map(({ x, y }) => [x, y]),
    labels: draft.clicks.map((click) => click.label),
    ...(draft.box && { box: draft.box }),
    ...(draft.lasso && { lasso: draft.lasso }),
    drawn: draft.strokes.length > 0 || draft.rings !== null,
  };
}

export const isEmptyResult = (result: DraftResult) => patchArea(result.patch) === 0;
