/** A closer look: windows, prompts and means as the package has them (tests/web/closer_fixtures.py). */

import { expect, test } from "vitest";

import { emptyPatch, rleToPatch } from "../src/masks/patch";
import { cocoToRle, type CocoRle } from "../src/masks/rle";
import {
  closerWindow,
  isClear,
  logitsAround,
  meanChance,
  objectBox,
  patchOnImage,
  promptInWindow,
} from "../src/model/closer";
import type { Window } from "../src/model/closer";
import { geometryOf, type Size } from "../src/model/geometry";
import { patchToModel } from "../src/model/logits";
import type { Spec } from "../src/model/manifest";
import manifest from "../../src/anymask/assets/nano/manifest.json";
import { expectClose } from "./close";
import closer from "./fixtures/closer.json";
import { promptOf } from "./samples";

const spec = { image_side: 64, mask_side: 16, fit: "longest_side" } as Spec;
const close = manifest.closer;

test.each(closer)("an object in a photo of $size is looked at closer as in Python", (one) => {
  const size = one.size as Size;
  const prompt = promptOf(one.asked);
  const mask = rleToPatch(cocoToRle(one.mask as CocoRle));
  const box = objectBox(prompt, mask)!;
  expectClose(box, one.box, 1e-3);
  expect(isClear(prompt)).toBe(true);
  const window = closerWindow(box, size, close);
  expect(window).toEqual(one.window);
  if (!window) return;
  const near = geometryOf([window[3] - window[1], window[2] - window[0]], spec);
  const moved = promptInWindow(prompt, window, mask);
  const places = moved.clicks.flatMap(({ x, y }) => [x, y]);
  expectClose(places, one.clicks!, 1e-3);
  if (moved.box) expectClose(moved.box, one.near!, 1e-3);
  else expect(one.near).toBeNull();
  if (moved.mask) expectClose(patchToModel(moved.mask, near, 16), one.start!, 0.05);
  else expect(one.start).toBeNull();
  const around = logitsAround(Float32Array.from(one.far!), geometryOf(size, spec), window, near);
  expectClose(around, one.around!, 0.02);
  for (const threshold of [0, 3]) {
    const [own, far] = [one.own!, [...around]].map((logits) =>
      Float32Array.from(logits, (logit) => logit + threshold),
    );
    const mean = meanChance(own, far, threshold, close.weight);
    expectClose(
      mean.map((logit) => logit - threshold),
      one.mean!,
      0.02,
    );
  }
});

test("windows are looked at for most of these, and a lone click is none", () => {
  expect(closer.filter(({ window }) => window).length).toBe(closer.length - 1);
  expect(isClear(promptOf({ points: [[3, 4]], labels: [1] }))).toBe(false);
  const off = promptOf({ points: [[3, 4]], labels: [0] });
  expect(objectBox(off, emptyPatch([9, 9]))).toBeNull();
});

test("a mask of a window lies in the photo where the window does", () => {
  const patch = { hw: [5, 6] as Size, x: 1, y: 2, width: 1, height: 1, data: Uint8Array.of(1) };
  const window: Window = [10, 20, 16, 25];
  expect(patchOnImage(patch, window, [90, 80])).toEqual({ ...patch, hw: [90, 80], x: 11, y: 22 });
});
