/** From what was said about an object to its mask on the screen, and to the mask that is kept. */

import { fillRings } from "../masks/outline";
import { emptyPatch, patchArea, rleToPatch } from "../masks/patch";
import type { Patch } from "../masks/patch";
import { withStroke } from "../masks/strokes";
import type { Stroke } from "../masks/strokes";
import type { Model } from "../model/client";
import { LONGEST } from "../model/edges";
import type { Size } from "../model/geometry";
import type { Granularity } from "../model/granularity";
import { refusal } from "../model/prompts";
import type { Prompt } from "../model/prompts";
import type { Candidate } from "../model/segment";
import { asksModel } from "./work";
import type { Draft, Mask } from "./work";

/** A draft as it looks now. */
export interface Looks {
  patch: Patch; // at full size or reduced, see `patch.hw`
  candidates: Candidate[];
  violated: number[];
  quality: number | null;
  keep: string; // the model's name for its answer
}

const SETTLED_MS = 150; // a mask that is meant so long is refined; those of a sweep are not
const FULL = 4_000_000; // photos of at most so many pixels are shown pixel for pixel at once

export const limitFor = ([height, width]: Size) => (height * width > FULL ? LONGEST : 0);

export const NOTHING = (hw: Size): Looks => ({
  patch: emptyPatch(hw),
  candidates: [],
  violated: [],
  quality: null,
  keep: "",
});

export class Drafting {
  private asked: { prompt: string; answer: Promise<Omit<Looks, "patch">> } | null = null;
  private fine: { keep: string; index: number; patch: Patch } | null = null; // the newest
  private refining: { asked: string; patch: Promise<Patch | null> } | null = null;
  private painted: { base: Patch; strokes: readonly Stroke[]; patch: Patch } | null = null;

  constructor(
    private readonly model: () => Model | null,
    private readonly image: string,
    private readonly hw: Size,
    private readonly granularity: () => Granularity,
    private readonly say: (text: string) => void = () => undefined,
  ) {}

  promptOf(draft: Draft): Prompt {
    const { clicks, box, lasso } = draft;
    return { clicks, box, mask: lasso ? fillRings([lasso], this.hw) : null };
  }

  /** The draft's mask. Throws with a text for the user. */
  async look(draft: Draft, fixed: Mask | null): Promise<Looks> {
    const looks = await this.base(draft, fixed);
    if (!draft.strokes.length) return looks;
    const whole = await this.whole(looks, draft);
    return { ...looks, patch: this.paint(whole, draft.strokes) };
  }

  /** The draft's mask, pixel for pixel. */
  async finish(draft: Draft, fixed: Mask | null): Promise<Looks> {
    const looks = await this.look(draft, fixed);
    if (draft.strokes.length) return looks;
    return { ...looks, patch: await this.whole(looks, draft) };
  }

  private async base(draft: Draft, fixed: Mask | null): Promise<Looks> {
    if (draft.rings) return { ...NOTHING(this.hw), patch: fillRings(draft.rings, this.hw) };
    if (asksModel(draft)) {
      const answer = await this.ask(draft);
      const index = chosenOf(draft, answer);
      const { patch, quality } = answer.candidates[index];
      return { ...answer, patch: this.fineOf(answer.keep, index) ?? patch, quality };
    }
    if (fixed) return { ...NOTHING(this.hw), patch: rleToPatch(fixed.rle), quality: fixed.quality };
    return NOTHING(this.hw);
  }

  private ask(draft: Draft): Promise<Omit<Looks, "patch">> {
    const model = this.model();
    if (!model) return Promise.reject(new Error("the model is not there; draw with the brush"));
    const prompt = this.promptOf(draft);
    const refused = refusal(prompt, model.manifest.spec);
    if (refused) return Promise.reject(new Error(refused));
    const asked = JSON.stringify([draft.clicks, draft.box, draft.lasso, this.granularity()]);
    if (this.asked?.prompt === asked) return this.asked.answer;
    const answer = model
      .answer(this.image, prompt, limitFor(this.hw), this.granularity())
      .then((reply) => ({ ...reply, quality: null }));
    this.asked = { prompt: asked, answer };
    answer.catch(() => (this.asked = null));
    return answer;
  }

  /**
   * What is shown, with its edge where the photo has it, once it is `still` meant after a moment;
   * null where it stays as it is.
   */
  async settle(looks: Looks, draft: Draft, still: () => boolean): Promise<Looks | null> {
    const asked = looks.candidates.length > 0 && !draft.strokes.length && this.model()?.refines;
    if (!asked || this.fineOf(looks.keep, chosenOf(draft, looks))) return null;
    await new Promise((resume) => setTimeout(resume, SETTLED_MS));
    if (!still()) return null;
    const patch = await this.refined(looks, draft, !limitFor(this.hw));
    return patch && { ...looks, patch };
  }

  /** What was refined last, if it is this answer. */
  private fineOf(keep: string, index: number): Patch | null {
    return this.fine?.keep === keep && this.fine.index === index ? this.fine.patch : null;
  }

  /** The refined mask of an answer, asked for once, or null; where that fails, the user is told. */
  private refined({ keep, candidates }: Looks, draft: Draft, whole: boolean) {
    const index = chosenOf(draft, { candidates });
    const asked = `${keep} ${index} ${whole}`;
    if (this.refining?.asked !== asked) {
      this.refining = { asked, patch: this.askFine(keep, index, whole) };
    }
    return this.refining.patch;
  }

  private async askFine(keep: string, index: number, whole: boolean): Promise<Patch | null> {
    const model = this.model();
    if (!model?.refines) return null;
    try {
      const patch = await model.refine(this.image, keep, index, whole);
      this.fine = { keep, index, patch };
      return patch;
    } catch (error) {
      this.refining = null; // the next look tries again
      this.say(`The mask has the model's own edge: ${(error as Error).message}`);
      return null;
    }
  }

  private async whole(looks: Looks, draft: Draft): Promise<Patch> {
    const isWhole = ({ hw }: Patch) => hw[0] === this.hw[0] && hw[1] === this.hw[1];
    if (!looks.candidates.length) return looks.patch;
    const index = chosenOf(draft, looks);
    const known = this.fineOf(looks.keep, index);
    if (known && isWhole(known)) return known;
    const fine = await this.refined(looks, draft, true);
    if (fine) return fine;
    return isWhole(looks.patch) ? looks.patch : this.model()!.cut(looks.keep, index);
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

/** The place of the candidate that a draft means. */
const chosenOf = (draft: Draft, { candidates }: Pick<Looks, "candidates">) =>
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

export const looksEmpty = (looks: Looks) => patchArea(looks.patch) === 0;
