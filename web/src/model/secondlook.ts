/**
 * A box is answered twice (the rule of `predictors/second_look.py`): the second time with the first
 * answer and a click in its middle.
 */

import { choose } from "./answers";
import { deepestCell } from "./central";
import type { Spec } from "./manifest";
import { NO_POINT } from "./prompts";
import type { Prompt, Tokens } from "./prompts";

const OBJECT = 1;

/** Whether this is a box and nothing else, and the model gains by a second look. */
export function looksTwice({ clicks, box, mask }: Prompt, spec: Spec): boolean {
  return box !== null && !clicks.length && !mask && spec.answer === "four";
}

/** The prompt with the mask that answered it, clicked in its middle. */
export function confirmed(
  given: Tokens,
  planes: Float32Array[],
  quality: Float32Array,
  spec: Spec,
): Tokens {
  const [{ logits }] = choose(spec, planes, quality, false);
  const middle = deepestCell(logits, spec.mask_side, spec.mask_threshold);
  const cell = spec.image_side / spec.mask_side;
  const place = middle ? [(middle[0] + 0.5) * cell, (middle[1] + 0.5) * cell] : [0, 0];
  return {
    coords: Float32Array.of(...given.coords, ...place),
    labels: [...given.labels, middle ? OBJECT : NO_POINT],
    mask: logits,
    hasMask: 1,
  };
}
