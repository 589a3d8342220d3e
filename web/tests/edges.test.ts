/** Edges of the image: windows and masks as the package has them (tests/web/edge_fixtures.py). */

import { expect, test } from "vitest";

import { patchArea, patchHas, patchToRle, rleToPatch } from "../src/masks/patch";
import { cocoToRle, rleIou, type CocoRle } from "../src/masks/rle";
import { WINDOW, windowAround, windowLogits } from "../src/model/edge_window";
import { windowImage, windowPrompt } from "../src/model/edge_window";
import { withoutCrumbs } from "../src/model/crumbs";
import { LONGEST, enlarged, refined, type EdgeNetwork } from "../src/model/edges";
import { geometryOf, reduced, type Size } from "../src/model/geometry";
import type { Spec } from "../src/model/manifest";
import { USUAL } from "../src/model/region_size";
import { regions } from "../src/model/regions";
import { rowsIn, smallerImage } from "../src/model/resample";
import { expectClose } from "./close";
import edges from "./fixtures/edges.json";
import { promptOf, striped, type Asked } from "./samples";

const spec = { image_side: 64, mask_side: 16, fit: "longest_side" } as Spec;
const STEP = 15;
const PATIENCE_MS = 60_000; // a large image on a slow machine

function imageOf(size: Size) {
  const near = reduced(geometryOf(size, spec), LONGEST);
  const whole = rowsIn(striped(size), [0, 0, size[1], size[0]]);
  return smallerImage(size, near.imageHw, whole);
}

const waves: EdgeNetwork = async () =>
  Float32Array.from({ length: WINDOW * WINDOW }, (_, i) => {
    return 5 * Math.sin((i % WINDOW) / 9) * Math.cos(Math.floor(i / WINDOW) / 7);
  });

const sampled = (plane: Float32Array, planes: number) =>
  Array.from({ length: planes }, (_, channel) => channel).flatMap((channel) =>
    Array.from({ length: WINDOW ** 2 }, (_, i) => i)
      .filter((i) => (i % WINDOW) % STEP === 0 && Math.floor(i / WINDOW) % STEP === 0)
      .map((i) => plane[channel * WINDOW ** 2 + i]),
  );

test.each(edges)(
  "a photo of $size is looked at as in Python",
  async (one) => {
    const size = one.size as Size;
    const place = geometryOf(size, spec);
    const near = reduced(place, LONGEST);
    const logits = Float32Array.from(one.logits);
    const window = windowAround(logits, 0, near)!;
    expect([window.x, window.y, window.cells]).toEqual(one.window);
    expectClose(window.pixel, one.pixel, 1e-3);
    expectClose(windowLogits(logits, 0, window), one.cells, 1e-3);
    const asked = promptOf(one.asked as Asked, near.imageHw[1] / size[1]);
    expectClose(sampled(windowPrompt(asked, window), 2), one.told, 1e-3);
    const seen = sampled(windowImage(await imageOf(size), window), 3);
    expectClose(seen, one.seen, 2.001); // OpenCV rounds places to 1/32 pixel
  },
  PATIENCE_MS,
);

test.each(edges)(
  "a mask of a photo of $size gets the edge it gets in Python",
  async (one) => {
    const size = one.size as Size;
    const prompt = promptOf(one.asked as Asked);
    const drawn = {
      logits: Float32Array.from(one.logits),
      threshold: 0,
      prompt,
      least: USUAL,
      geometry: geometryOf(size, spec),
    };
    const fine = (await refined(drawn, await imageOf(size), waves))!;
    const wanted = cocoToRle(one.rle as CocoRle);
    expect(rleIou(patchToRle(enlarged(fine, size)), wanted)).toBeGreaterThan(0.995);
    expect(rleIou(cocoToRle(one.own as CocoRle), wanted)).toBeLessThan(0.99); // it did change
  },
  PATIENCE_MS,
);

test("a photo as coarse as the mask, and a mask without an object, stay", async () => {
  const drawn = (size: Size, level: number) => ({
    logits: new Float32Array(256).fill(level),
    threshold: 0,
    prompt: promptOf({}),
    least: USUAL,
    geometry: geometryOf(size, spec),
  });
  const none: EdgeNetwork = () => Promise.reject(new Error("nobody asks"));
  expect(await refined(drawn([16, 12], 1), await imageOf([16, 12]), none)).toBeNull();
  expect(await refined(drawn([90, 120], -1), await imageOf([90, 120]), none)).toBeNull();
});

const image = (rows: string[]) => ({
  hw: [rows.length + 4, rows[0].length + 6] as Size,
  x: 3,
  y: 2,
  width: rows[0].length,
  height: rows.length,
  data: Uint8Array.from(rows.join(""), Number),
});
const squared = (width: number, height: number) =>
  image(Array.from({ length: height }, () => "1".repeat(width)));

test("crumbs go, and those that a click speaks for stay", () => {
  const patch = squared(30, 24);
  const dent = (x: number, y: number) => (patch.data[y * 30 + x] = 0);
  dent(5, 5);
  dent(12, 12);
  for (let x = 0; x < 30; x++) for (const y of [20, 21]) dent(x, y);
  for (let x = 0; x < 30; x++) for (const y of [22, 23]) if (x % 9) dent(x, y);
  const clicks = [
    { x: 3 + 12, y: 2 + 12, label: 0 as const },
    { x: 3 + 9, y: 2 + 23, label: 1 as const },
    { x: 0, y: 0, label: 0 as const }, // beside the window
  ];
  const tidy = withoutCrumbs(patch, clicks, USUAL);
  const has = (x: number, y: number) => patchHas(tidy, x + 3, y + 2);
  expect([has(5, 5), has(12, 12), has(9, 23), has(18, 23)]).toEqual([true, false, true, false]);
});

test("regions are joined by corners and numbered in reading order", () => {
  const { data, width, height } = image(["1010", "0101", "0000", "1001", "1111"]);
  expect([...regions(data, height, width)]).toEqual(
    [
      [1, 0, 1, 0],
      [0, 1, 0, 1],
      [0, 0, 0, 0],
      [2, 0, 0, 2],
      [2, 2, 2, 2],
    ].flat(),
  );
  const slow = (mask: Uint8Array, rows: number, columns: number) => {
    const out = new Int32Array(mask.length);
    let count = 0;
    const spread = (at: number) => {
      out[at] = count;
      const [y, x] = [Math.floor(at / columns), at % columns];
      for (let i = 0; i < 9; i++) {
        const [ny, nx] = [y + Math.floor(i / 3) - 1, x + (i % 3) - 1];
        const next = ny * columns + nx;
        if (ny < 0 || nx < 0 || ny >= rows || nx >= columns) continue;
        if (mask[next] && !out[next]) spread(next);
      }
    };
    mask.forEach((one, at) => {
      if (!one || out[at]) return;
      count++;
      spread(at);
    });
    return out;
  };
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (const share of [0.2, 0.4, 0.5, 0.6, 0.9]) {
    for (const [rows, columns] of [
      [1, 9],
      [9, 1],
      [13, 17],
      [20, 20],
    ]) {
      const mask = Uint8Array.from({ length: rows * columns }, () => (random() < share ? 1 : 0));
      expect(regions(mask, rows, columns)).toEqual(slow(mask, rows, columns));
    }
  }
});

test("a mask of a smaller photo is enlarged between its pixels' centres", () => {
  const small = { ...squared(4, 4), hw: [10, 12] as Size };
  const large = enlarged(small, [20, 24]);
  expect([large.x, large.y, large.width, large.height]).toEqual([6, 4, 8, 8]);
  expect(patchArea(large)).toBe(64);
  expect(enlarged(large, [20, 24])).toBe(large);
  const wide = enlarged(small, [40, 48]); // corners are cut where a line between centers cuts them
  expect([wide.width, wide.height, patchArea(wide)]).toEqual([16, 16, 256 - 4 * 1]);
  const none = enlarged(rleToPatch({ ...patchToRle(small), size: [10, 12] }), [5, 6]);
  expect(none.hw).toEqual([5, 6]);
});
