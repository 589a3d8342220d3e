/** The rules that the page repeats give what the package gives (see tests/web/write_fixtures.py). */

import { describe, expect, test } from "vitest";

import { patchToRle, rleToPatch } from "../src/masks/patch";
import { cocoToRle, rleIou } from "../src/masks/rle";
import type { CocoRle } from "../src/masks/rle";
import { choose } from "../src/model/answers";
import { halvesToFloats, readEmbedding } from "../src/model/embedding";
import { geometryOf } from "../src/model/geometry";
import type { Size } from "../src/model/geometry";
import { chosenFirst } from "../src/model/granularity";
import { honourNegatives, violated } from "../src/model/honour";
import { cutLogits, patchToModel } from "../src/model/logits";
import type { Spec } from "../src/model/manifest";
import { Newest } from "../src/model/newest";
import { refusal, tokensOf } from "../src/model/prompts";
import { chances, factsOf, rankedQuality } from "../src/model/ranking";
import { imageToModel } from "../src/model/resample";
import { confirmed, looksTwice } from "../src/model/secondlook";
import { fitToBox } from "../src/model/tight";
import answers from "./fixtures/answers.json";
import boxes from "./fixtures/boxes.json";
import clicks from "./fixtures/clicks.json";
import cuts from "./fixtures/cuts.json";
import looks from "./fixtures/looks.json";
import pictures from "./fixtures/pictures.json";
import rankings from "./fixtures/rankings.json";
import starts from "./fixtures/starts.json";

const spec: Spec = {
  name: "small",
  image_side: 64,
  mask_side: 16,
  mean: [127.5, 127.5, 127.5],
  std: [127.5, 127.5, 127.5],
  fit: "longest_side",
  pad_multiple: 0,
  resample: "area",
  accepts: ["point", "negative_point", "box", "mask"],
  answer: "four",
  pad_point: false,
  fixed_points: 0,
  mask_threshold: 0,
};
const place = geometryOf([90, 120], spec);
const floats = (values: number[]) => Float32Array.from(values);

function expectClose(got: ArrayLike<number>, wanted: number[], within: number): void {
  expect(got.length).toBe(wanted.length);
  let most = 0;
  for (let i = 0; i < wanted.length; i++) most = Math.max(most, Math.abs(got[i] - wanted[i]));
  expect(most).toBeLessThan(within);
}

test.each(cuts)("logits become the mask of a photo of $imageHw, limit $limit", (one) => {
  const geometry = geometryOf(one.imageHw as Size, spec);
  expect(geometry.inputHw).toEqual(one.inputHw);
  const { patch } = cutLogits(floats(one.logits), geometry, 0, one.limit);
  const wanted = cocoToRle(one.rle as CocoRle);
  expect(patch.hw).toEqual(wanted.size);
  expect(rleIou(patchToRle(patch), wanted)).toBeGreaterThan(0.999);
});

test("what lies above further thresholds is counted", () => {
  const logits = new Float32Array(256).fill(1);
  const cut = cutLogits(logits, place, 0, 0, [2, -1]);
  expect(cut.above).toEqual([0, 90 * 120]);
  expect(cutLogits(logits.fill(-1), place, 0).patch.data.length).toBe(0);
});

test.each(answers)("$answer chooses, multimask $multimask", (one) => {
  const planes = one.planes.map(floats);
  const family = { ...spec, answer: one.answer as Spec["answer"] };
  const kept = choose(family, planes, floats(one.quality), one.multimask);
  expectClose(
    kept.map((answer) => answer.quality),
    one.numbers,
    2e-3,
  );
  kept.forEach((answer, i) => expectClose(answer.logits, one.kept[i], 0.02));
});

test.each(rankings)("the masks of a lone click at $click come in the package's order", (one) => {
  const [planes, quality] = [one.planes.map(floats), floats(one.quality)];
  const where = geometryOf(one.size as Size, spec);
  const { found, shared } = factsOf(quality, planes, one.click, where, spec);
  found.forEach((row, i) => expectClose(row, one.found[i], 3e-3));
  shared.forEach((row, i) => expectClose(row, one.shared[i], 1e-3));
  expectClose(chances(one.found), one.likely, 5e-3);
  expectClose(rankedQuality(quality, planes, one.click, where, spec), one.out, 1e-3);
});

test.each(boxes)("a mask keeps to the box $box", (one) => {
  const [x0, y0, x1, y1] = one.box;
  expectClose(fitToBox(floats(one.logits), [x0, y0, x1, y1], place, 0), one.out, 2e-3);
});

test.each(clicks.map((one, i) => ({ i, ...one })))("negative clicks are honoured, $i", (one) => {
  const said = one.points.map(([x, y], i) => ({ x, y, label: one.labels[i] as 0 | 1 }));
  const out = honourNegatives(floats(one.logits), said, place, 0);
  expectClose(out, one.out, 2e-3);
  expect(violated(out, said, place, 0)).toEqual(one.violated);
});

test.each(pictures.map((one, i) => ({ i, ...one })))(
  "a photo of $size is seen as the package sees it, $resample",
  async (one) => {
    const [height, width] = one.size;
    const rgba = new Uint8ClampedArray(height * width * 4);
    for (let i = 0; i < height * width; i++) {
      rgba.set([...one.photo.slice(3 * i, 3 * i + 3), 255], 4 * i);
    }
    const read = async (top: number, rows: number) =>
      rgba.subarray(top * width * 4, (top + rows) * width * 4);
    const resample = one.resample as Spec["resample"];
    const how = { ...spec, image_side: 32, pad_multiple: one.pad_multiple, resample };
    const { pixels, size } = await imageToModel([height, width], how, read);
    expect(size).toEqual(one.input);
    expectClose(pixels, one.seen, 1.5 / 127.5);
  },
);

test.each(looks)("a box is asked again with its answer, clicked at $coords", (one) => {
  const given = {
    coords: floats(one.coords.slice(0, 4)),
    labels: one.labels.slice(0, 2),
    mask: new Float32Array(256),
    hasMask: 0,
  };
  const out = confirmed(given, one.planes.map(floats), floats(one.quality), spec);
  expect([...out.coords]).toEqual(one.coords);
  expect(out.labels).toEqual(one.labels);
  expect(out.hasMask).toBe(1);
  expectClose(out.mask, one.mask, 2e-3);
});

test("only a bare box is asked twice, and only of a model that gains by it", () => {
  const box: [number, number, number, number] = [0, 0, 9, 9];
  const click = { x: 1, y: 1, label: 1 as const };
  expect(looksTwice({ clicks: [], box, mask: null }, spec)).toBe(true);
  expect(looksTwice({ clicks: [click], box, mask: null }, spec)).toBe(false);
  expect(looksTwice({ clicks: [], box: null, mask: null }, spec)).toBe(false);
  expect(looksTwice({ clicks: [], box, mask: null }, { ...spec, answer: "sam" })).toBe(false);
});

test("a start mask becomes logits", () => {
  const [one] = starts;
  const out = patchToModel(rleToPatch(cocoToRle(one.rle as CocoRle)), place, 16);
  expectClose(out, one.out, 0.15); // the package rounds the shares to 8 bits
});

describe("prompts", () => {
  const click = { x: 60, y: 45, label: 1 as const };

  test("clicks come first, then the box's corners", () => {
    const said = { clicks: [click], box: [0, 0, 240, 90] as const, mask: null };
    const tokens = tokensOf({ ...said, box: [...said.box] }, place, spec);
    expect(tokens.labels).toEqual([1, 2, 3]);
    expectClose(tokens.coords, [32, 24, 0, 0, 64, 48], 1e-5);
  });

  test("SAM's decoders get a point that is none", () => {
    const said = { clicks: [click], box: null, mask: null };
    expect(tokensOf(said, place, { ...spec, pad_point: true }).labels).toEqual([1, -1]);
    expect(tokensOf(said, place, { ...spec, fixed_points: 6 }).labels.length).toBe(6);
  });

  test("what a model cannot take is refused by name", () => {
    const said = { clicks: [{ ...click, label: 0 as const }], box: null, mask: null };
    const picky = { ...spec, accepts: ["point"] };
    expect(refusal(said, picky)).toBe("small takes no negative clicks");
    expect(refusal(said, spec)).toBeNull();
  });
});

test("part and whole are the smallest and the largest of the good candidates", () => {
  const sized = (cells: number, quality: number, token: number) => ({
    logits: Float32Array.from({ length: 256 }, (_, i) => (i < cells ? 1 : -1)),
    quality,
    token,
  });
  const all = [sized(20, 0.9, 0), sized(60, 0.85, 1), sized(5, 0.88, 2), sized(100, 0.3, 3)];
  const first = (how: "all" | number) => chosenFirst(all, how, place, 0)[0].token;
  expect([first("all"), first(0), first(0.5), first(1)]).toEqual([0, 2, 0, 1]);
});

describe("an embedding from the server", () => {
  function bytes(): ArrayBuffer {
    const header = {
      image_hw: [90, 120],
      input_hw: [48, 64],
      side: 64,
      model: "small",
      model_hash: "abc",
      maps: [{ name: "features", shape: [1, 2, 2], dtype: "float16" }],
    };
    const text = new TextEncoder().encode(JSON.stringify(header));
    const out = new Uint8Array(4 + text.length + 8);
    new DataView(out.buffer).setUint32(0, text.length, true);
    out.set(text, 4);
    out.set(new Uint8Array(Uint16Array.of(0x3c00, 0xc000, 0x3555, 0x0001).buffer), 4 + text.length);
    return out.buffer;
  }

  test("is read", () => {
    const embedding = readEmbedding(bytes());
    expect(embedding.geometry).toEqual({ imageHw: [90, 120], inputHw: [48, 64], side: 64 });
    expectClose(embedding.maps[0].data, [1, -2, 0.333251953125, 2 ** -24], 1e-9);
  });

  test("is refused when it is cut off", () => {
    expect(() => readEmbedding(bytes().slice(0, -2))).toThrow("got no whole map features");
    expect(() => readEmbedding(new ArrayBuffer(2))).toThrow("got 2 bytes");
  });

  test("halves keep infinities", () => {
    expect([...halvesToFloats(Uint16Array.of(0x7c00, 0xfc00))]).toEqual([Infinity, -Infinity]);
  });
});

test("of the hovers that wait only the newest runs", async () => {
  const newest = new Newest();
  const ran: number[] = [];
  let release = () => {};
  const slow = newest.run(() => new Promise<number>((done) => (release = () => done(0))));
  const others = [1, 2, 3].map((n) =>
    newest.run(async () => {
      ran.push(n);
      return n;
    }),
  );
  release();
  expect(await slow).toBe(0);
  expect(await Promise.all(others)).toEqual([null, null, 3]);
  expect(ran).toEqual([3]);
  expect(await newest.run(async () => 4)).toBe(4);
});
