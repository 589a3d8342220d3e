/** Main subjects: maps, prompts and agreement as in Python (tests/web/subject_fixtures.py). */

import { expect, test } from "vitest";

import { patchToRle, rleToPatch } from "../src/masks/patch";
import { cocoToRle, rleToCoco, type CocoRle } from "../src/masks/rle";
import type { Size } from "../src/model/geometry";
import { patchShares } from "../src/model/logits";
import { agreement, bestOf, subjectMap, subjectPrompts } from "../src/model/subject";
import { expectClose } from "./close";
import subjects from "./fixtures/subjects.json";

function seenOf({ size, inputHw, side, maps, ...one }: (typeof subjects)[number]) {
  const geometry = { imageHw: size as Size, inputHw: inputHw as Size, side };
  const cells = Math.sqrt(maps.length / 3);
  const map = { name: "made", shape: [3, cells, cells], data: Float32Array.from(maps) };
  const probe = { weights_hash: "", weights: one.weights, offset: one.offset, least: 0.2 };
  return { geometry, probe, features: { geometry, model: "", modelHash: "", maps: [map] } };
}

test.each(subjects)("a photo of $size is prompted where its subject is likely", (one) => {
  const { geometry, probe, features } = seenOf(one);
  const likely = subjectMap(features, probe);
  expect(likely.hw).toEqual(one.hw);
  expectClose(likely.values, one.likely, 1e-4);
  const prompts = subjectPrompts(likely, geometry);
  const boxes = prompts.flatMap(({ box }) => (box ? [box] : []));
  boxes.forEach((box, i) => expectClose(box, one.boxes[i], 1e-6));
  expect(boxes.length).toBe(one.boxes.length);
  const clicks = prompts.filter(({ clicks }) => clicks.length);
  expectClose(
    clicks.flatMap(({ clicks: [{ x, y }] }) => [x, y]),
    one.clicks.flat(2),
    1.5, // of two equally deep pixels another one
  );
  const started = prompts.flatMap(({ mask }) => (mask ? [rleToCoco(patchToRle(mask))] : []));
  expect(started).toEqual(one.started);
});

test.each(subjects)("masks of a photo of $size agree with its map as in Python", (one) => {
  const shares = patchShares(rleToPatch(cocoToRle(one.mask as CocoRle)), one.hw as Size);
  expectClose(shares, one.shares, 1e-4);
  const worth = agreement(shares, Float32Array.from(one.likely));
  expect(worth).toBeCloseTo(one.agreement, 4);
});

test("nothing likely gives no prompt", () => {
  const { geometry, probe, features } = seenOf(subjects[0]);
  const likely = subjectMap(features, { ...probe, offset: -30 });
  expect(subjectPrompts(likely, geometry)).toEqual([]);
  expect(agreement(new Float32Array(4), new Float32Array(4))).toBe(0);
});

test("the mask on which most agree is the best, unless its score is low", () => {
  const masks = [[1, 1, 0], [1, 1, 0], [0, 0, 1]].map((one) => Float32Array.from(one)); // prettier-ignore
  expect(bestOf(masks, [0.5, 0.9, 0.9])).toBe(1);
  expect(bestOf(masks, [0.1, 0.1, 0.9])).toBe(2);
});
