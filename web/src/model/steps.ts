/** The steps in which the clicks of a prompt are decoded (`click_steps` of `masks/answer.py`). */

const MOST_STEPS = 8; // of one prompt: the clicks before the last seven are decoded together

/** What was predicted for the first clicks of a prompt. */
export interface Previous {
  logits: Float32Array; // (m, m) of the mask that the further clicks correct
  clicks: number; // how many of the prompt's clicks it is about
}

/**
 * The clicks of each step, as indices in the order of the prompt; one step without clicks.
 *
 * answered  number of clicks, the first ones, that an earlier answer is about already
 * start     what selects the object: a click (then the first foreground one comes before all
 *           others), a box (decoded without clicks first, if the first one takes away) or a mask
 */
export function clickSteps(
  labels: readonly number[],
  answered: number,
  start: "click" | "box" | "mask",
) {
  const order = labels.map((_, place) => place);
  const first = labels.indexOf(1);
  if (start === "click" && !answered && first > 0) order.unshift(...order.splice(first, 1));
  const together = answered + Math.max(order.length - answered - MOST_STEPS + 1, 1);
  const steps: number[][] = start === "box" && !answered && labels[0] === 0 ? [[]] : [];
  for (let end = Math.min(together, order.length); end <= order.length; end++) {
    steps.push(order.slice(0, end).sort((a, b) => a - b));
  }
  return steps;
}

/** Whether a step adds negative clicks, and no positive ones, to those of an earlier mask. */
export function addsNegatives(
  labels: readonly number[],
  step: readonly number[],
  before: readonly number[],
): boolean {
  const added = step.filter((place) => !before.includes(place));
  return added.length > 0 && added.every((place) => labels[place] === 0);
}
