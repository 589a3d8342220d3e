/**
 * A model's rules, as `anymask.models.rules` has them: decoder outputs in, ordered candidates out.
 *
 * T masks of the decoder, K candidates, m the side of a low-resolution mask.
 */

import type { Geometry } from "../geometry";
import type { Spec } from "../manifest";
import type { Tokens } from "../prompts";

export interface Answer {
  logits: Float32Array; // (m, m)
  score: number; // this mask's own number
  order: number; // its place among the K in the model's own order
}

/** What a decoder says about one prompt. */
export interface Decoded {
  planes: Float32Array[]; // (T,) of (m, m)
  score: Float32Array; // (T,)
}

export type Decode = (asked: Tokens) => Promise<Decoded>;

/** What was learned beside the network's weights: the bundle's tables.json. */
export type Tables = Record<string, unknown>;

export interface Family {
  /** Whether several clicks are decoded one after the other, each with the logits of the last. */
  stepwise: boolean;
  /** The K candidates of an ambiguous prompt, in the model's order. */
  candidates(decoded: Decoded): Answer[];
  /** Ask the decoder about one prompt on one image, and order what it says: the first one first. */
  answer(decode: Decode, asked: Tokens, place: Geometry): Promise<Answer[]>;
}

export type MakeFamily = (spec: Spec, tables: Tables) => Family;

export const [NO_POINT, POSITIVE] = [-1, 1]; // values of `Tokens.labels`
export const CORNERS = [2, 3];

/** Whether the prompt is one positive click and nothing else: the ambiguous case. */
export function isLoneClick({ labels, hasMask }: Tokens): boolean {
  const given = labels.filter((label) => label >= 0);
  return given.length === 1 && given[0] === POSITIVE && !hasMask;
}

export function answersOf(planes: Float32Array[], score: ArrayLike<number>): Answer[] {
  return planes.map((logits, order) => ({ logits, score: score[order] ?? 0, order }));
}

/** The highest score first; equal ones stay in their order. */
export function byScore(answers: Answer[]): Answer[] {
  return [...answers].sort((a, b) => b.score - a.score);
}

/** A family whose masks are chosen by one rule for a lone click and one for a clearer prompt. */
export function choosing(
  candidates: (decoded: Decoded) => Answer[],
  single: (decoded: Decoded) => Answer[],
): Family {
  return {
    stepwise: false,
    candidates,
    async answer(decode, asked) {
      const pick = isLoneClick(asked) ? candidates : single;
      return byScore(pick(await decode(asked)));
    },
  };
}
