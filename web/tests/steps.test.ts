/** Clicks that correct a mask: which are decoded in which step, and with which logits. */

import { describe, expect, test } from "vitest";

import { openFamily } from "../src/model/families";
import type { Family } from "../src/model/families/family";
import type { Geometry } from "../src/model/geometry";
import type { Spec } from "../src/model/manifest";
import type { Click } from "../src/model/negative_clicks";
import type { Prompt, Tokens } from "../src/model/prompts";
import { USUAL } from "../src/model/region_size";
import { answersTo } from "../src/model/segment";
import { addsNegatives, clickSteps } from "../src/model/steps";
import { Drafting } from "../src/state/drafting";
import { NO_DRAFT, type Draft } from "../src/state/work";
import steps from "./fixtures/steps.json";

test.each(steps)("$labels after $answered, from a $start", (one) => {
  const { labels, answered } = one;
  const found = clickSteps(labels, answered, one.start as "click" | "box" | "mask");
  expect(found).toEqual(one.steps);
  const before = [labels.slice(0, answered).map((_, place) => place), ...found];
  expect(found.map((step, i) => addsNegatives(labels, step, before[i]))).toEqual(one.negative);
});

const SIDE = 16;
const PLACE: Geometry = { imageHw: [64, 64], inputHw: [64, 64], side: 64 };
const SPEC = {
  name: "tiny",
  family: "sam",
  image_side: 64,
  mask_side: SIDE,
  mask_threshold: 0,
  accepts: ["point", "negative_point", "box", "mask"],
  pad_point: false,
  fixed_points: 0,
} as unknown as Spec;
const on = (x: number, y = 8): Click => ({ x, y, label: 1 });
const CLICKS = [on(8), on(24), { ...on(40), label: 0 as const }];
const SETTINGS = { granularity: "all" as const, least: USUAL };

/** A decoder whose masks have the number of its call in their first cell. */
async function asked(family: Family, prompt: Prompt): Promise<Tokens[]> {
  const told: Tokens[] = [];
  const decode = async (tokens: Tokens) => {
    told.push(tokens);
    const plane = new Float32Array(SIDE * SIDE).fill(-3).fill(4, 0, SIDE * 4);
    plane[0] = told.length;
    return { planes: [plane, plane, plane, plane], score: Float32Array.of(0.9, 0.8, 0.7, 0.6) };
  };
  await answersTo(prompt, { family, decode, geometry: PLACE, spec: SPEC }, SETTINGS);
  return told;
}

const sam = openFamily(SPEC, {});
const stepwise: Family = { ...sam, stepwise: true };
const of = (tokens: Tokens[]) =>
  tokens.map(({ labels, hasMask, mask }) => [labels, hasMask, mask[0]]);

describe("a prompt of several clicks", () => {
  const prompt = { clicks: CLICKS, box: null, mask: null };

  test("is decoded click by click, each with the logits before it", async () => {
    expect(of(await asked(stepwise, prompt))).toEqual([
      [[1], 0, 0],
      [[1, 1], 1, 1],
      [[1, 1, 0], 1, 2],
    ]);
  });

  test("is decoded at once by a family that has not learned to correct itself", async () => {
    expect(of(await asked(sam, prompt))).toEqual([[[1, 1, 0], 0, 0]]);
  });

  test.each([stepwise, sam])(
    "goes on from what was shown for the first of them",
    async (family) => {
      const previous = { logits: new Float32Array(SIDE * SIDE).fill(7), clicks: 2 };
      expect(of(await asked(family, { ...prompt, previous }))).toEqual([[[1, 1, 0], 1, 7]]);
    },
  );

  test("keeps its mask when a click off it would move it", async () => {
    const left = new Float32Array(SIDE * SIDE).fill(-3).fill(4, 0, SIDE * 8);
    const right = left.map((logit) => -logit);
    let calls = 0;
    const decode = async () => {
      const plane = calls++ ? right : left;
      return { planes: [plane, plane, plane, plane], score: Float32Array.of(0.9, 0.8, 0.7, 0.6) };
    };
    const clicks = [on(8), { x: 40, y: 60, label: 0 as const }];
    const question = { family: stepwise, decode, geometry: PLACE, spec: SPEC };
    const [answer] = await answersTo({ ...prompt, clicks }, question, SETTINGS);
    expect(calls).toBe(2);
    expect(answer.own).toEqual(left);
    calls = 1;
    const previous = { logits: left, clicks: 1 };
    const [after] = await answersTo({ ...prompt, clicks, previous }, question, SETTINGS);
    expect(after.own).toEqual(left);
    clicks[1] = on(40, 60);
    calls = 0;
    const [moved] = await answersTo({ ...prompt, clicks }, question, SETTINGS);
    expect(moved.own).toEqual(right);
  });

  test("has its box in every step", async () => {
    const box = [4, 4, 50, 50] as [number, number, number, number];
    const told = await asked(stepwise, { ...prompt, clicks: CLICKS.slice(0, 2), box });
    expect(told.map(({ labels }) => labels)).toEqual([
      [1, 2, 3],
      [1, 1, 2, 3],
    ]);
  });
});

test("the bundled families are decoded step by step, the others at once", () => {
  const learned = { ranking: {} };
  for (const family of ["nano", "small"])
    expect(openFamily({ ...SPEC, family }, learned).stepwise).toBe(true);
  for (const family of ["sam", "sam_hq", "efficient_sam"])
    expect(openFamily({ ...SPEC, family }, {}).stepwise).toBe(false);
});

/** Answers have their number in the first logit of each candidate, and the candidate's place. */
class Numbered {
  told: Prompt[] = [];
  manifest = { spec: SPEC, name: "numbered", weights_hash: "0" };
  refines = false;

  async answer(_: string, prompt: Prompt) {
    this.told.push(prompt);
    const one = { patch: { hw: [64, 64], x: 0, y: 0, width: 0, height: 0, data: [] }, score: 1 };
    const count = prompt.clicks.length > 1 || prompt.box ? 1 : 3;
    const logits = Array.from({ length: count }, (_, i) => Float32Array.of(this.told.length, i));
    return { candidates: Array(count).fill(one), violated: [], keep: "", closer: false, logits };
  }
}

describe("on the page", () => {
  const start = () => {
    const model = new Numbered();
    const drafting = new Drafting(
      () => model as never,
      "photo",
      [64, 64],
      () => "all",
    );
    const predict = (change: Partial<Draft>) => drafting.predict({ ...NO_DRAFT, ...change }, null);
    const last = () => {
      const previous = model.told.at(-1)!.previous;
      return previous && [previous.clicks, ...previous.logits];
    };
    return { model, predict, last, drafting };
  };

  test("each click corrects the mask before it; without it, that mask is shown again", async () => {
    const { predict, last } = start();
    await predict({ clicks: CLICKS.slice(0, 1) });
    expect(last()).toBeNull();
    await predict({ clicks: CLICKS.slice(0, 2) });
    expect(last()).toEqual([1, 1, 0]);
    await predict({ clicks: CLICKS });
    expect(last()).toEqual([2, 2, 0]);
    await predict({ clicks: CLICKS.slice(0, 2) }); // undo
    expect(last()).toEqual([1, 1, 0]);
  });

  test("clicks that come faster than answers wait for them", async () => {
    const { model, predict } = start();
    await Promise.all([1, 2, 3].map((count) => predict({ clicks: CLICKS.slice(0, count) })));
    expect(model.told.map(({ previous }) => previous?.clicks ?? 0)).toEqual([0, 1, 2]);
  });

  test("a click corrects the candidate that is shown", async () => {
    const { predict, last } = start();
    await predict({ clicks: CLICKS.slice(0, 1), candidate: 2 });
    await predict({ clicks: CLICKS.slice(0, 2), candidate: 2 });
    expect(last()).toEqual([1, 1, 2]);
  });

  test("a click in a box corrects the box's mask, but not one of another box", async () => {
    const { predict, last } = start();
    await predict({ box: [4, 4, 50, 50] });
    await predict({ box: [4, 4, 50, 50], clicks: CLICKS.slice(0, 1) });
    expect(last()).toEqual([0, 1, 0]);
    await predict({ box: [4, 4, 30, 30], clicks: CLICKS.slice(0, 2) });
    expect(last()).toBeNull();
  });

  test("background clicks alone are about no object, and nothing corrects their mask", async () => {
    const { predict, last } = start();
    await predict({ clicks: CLICKS.slice(2) });
    await predict({ clicks: [...CLICKS.slice(2), on(8)] });
    expect(last()).toBeNull();
  });

  test("a preview under the pointer corrects what is shown, too", async () => {
    const { predict, drafting } = start();
    await predict({ clicks: CLICKS.slice(0, 1) });
    const { previous } = drafting.promptOf({ ...NO_DRAFT, clicks: CLICKS.slice(0, 2) });
    expect(previous?.clicks).toBe(1);
  });

  test("a model without mask prompts gets all clicks at once", async () => {
    const { model, predict, last } = start();
    model.manifest.spec = { ...SPEC, accepts: ["point"] };
    await predict({ clicks: CLICKS.slice(0, 1) });
    await predict({ clicks: CLICKS.slice(0, 2) });
    expect(last()).toBeNull();
  });
});
