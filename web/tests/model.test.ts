/** The rules that the page repeats give what the package gives (see tests/web/write_fixtures.py). */

import { describe, expect, test } from "vitest";

import { patchArea, patchHas, patchToRle, rleToPatch } from "../src/masks/patch";
import { cocoToRle, rleIou, type CocoRle } from "../src/masks/rle";
import { halvesToFloats, readFeatures } from "../src/model/features";
import { gridSettings } from "../src/model/everything";
import { openFamily } from "../src/model/families";
import { chances, ranked, withMiddleClick } from "../src/model/families/nano";
import { factsOf, gridOf } from "../src/model/families/nano-facts";
import { geometryOf, type Size } from "../src/model/geometry";
import { chosenFirst } from "../src/model/granularity";
import { DUPLICATE, parted, withoutOverlaps } from "../src/model/arrangement";
import { cleaned } from "../src/model/cleaning";
import { withoutCrumbs } from "../src/model/crumbs";
import { contradicted, heldTo, keepPrevious, obeyNegatives } from "../src/model/negative_clicks";
import { cutLogits, patchToModel } from "../src/model/logits";
import { checkChannels, readManifest, type Spec } from "../src/model/manifest";
import { Newest } from "../src/model/newest";
import { refusal, tokensOf, type Tokens } from "../src/model/prompts";
import { USUAL, parseRegionSize } from "../src/model/region_size";
import { imageToModel } from "../src/model/resample";
import tables from "../../src/anymask/assets/nano/tables.json";
import manifest from "../../src/anymask/assets/nano/manifest.json";
import smallTables from "../../src/anymask/assets/small/tables.json";
import { expectClose } from "./close";
import answers from "./fixtures/answers.json";
import arrangements from "./fixtures/arrangements.json";
import cleanings from "./fixtures/cleanings.json";
import clicks from "./fixtures/clicks.json";
import keptMasks from "./fixtures/keptMasks.json";
import crumbs from "./fixtures/crumbs.json";
import cuts from "./fixtures/cuts.json";
import looks from "./fixtures/looks.json";
import otherCleanings from "./fixtures/otherCleanings.json";
import images from "./fixtures/pictures.json";
import rankings from "./fixtures/rankings.json";
import regionSizes from "./fixtures/regionSizes.json";
import starts from "./fixtures/starts.json";
import { clicksOf } from "./samples";

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
  family: "nano",
  pad_point: false,
  fixed_points: 0,
  mask_threshold: 0,
};
const place = geometryOf([90, 120], spec);
const floats = (values: number[]) => Float32Array.from(values);
const scoreOf = (answer: { score: number }) => answer.score;

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

test.each(answers)("$family answers a $kind", async (one) => {
  const { family, kept, numbers } = one;
  const small = { ...spec, family, image_side: 32, mask_side: 8 };
  const rules = openFamily(small, family === "small" ? smallTables : tables);
  const decoded = { planes: one.planes.map(floats), score: floats(one.score) };
  const told: number[] = [];
  const decode = async ({ labels }: Tokens) => {
    told.push(labels.length);
    return decoded;
  };
  const { labels, hasMask } = one;
  const asked = { coords: floats(one.coords), labels, mask: new Float32Array(64), hasMask };
  const given = await rules.answer(decode, asked, geometryOf([90, 120], small));
  expect(told).toEqual(one.told);
  expect(given.map((answer) => answer.order)).toEqual(one.order);
  expectClose(given.map(scoreOf), numbers, 2e-3);
  given.forEach((answer, i) => expectClose(answer.logits, kept[i], 0.02));
  expectClose(rules.candidates(decoded).map(scoreOf), one.candidates, 2e-3);
});

test("a family that this page does not know is named", () => {
  expect(() => openFamily({ ...spec, family: "later" }, {})).toThrow(/"later".* sam, sam_hq/);
  expect(() => openFamily(spec, {})).toThrow('lacks "ranking"');
});

test("policy comes from the bundle's manifest", () => {
  const read = readManifest(manifest);
  expect(gridSettings(read)).toMatchObject({
    score: read.grid.pred_iou_thresh,
    stability: manifest.grid.stability_score_thresh,
  });
  expect(read.graphs.decoder.file).toBe("decoder.onnx");
  expect(() => readManifest({ ...manifest, graphs: {} })).toThrow("Export the model again");
  const apart = { ...manifest, sha256: { "weights.safetensors": "a" } };
  expect(() => readManifest(apart)).toThrow("Use nano");
});

test("a model of other channels than a photo's is refused where the page would see the photo", () => {
  expect(() => checkChannels(readManifest(manifest))).not.toThrow();
  const channels = { lows: [0, 0, 0, 0] };
  const other = readManifest({ ...manifest, spec: { ...manifest.spec, channels } });
  expect(() => checkChannels(other)).toThrow(/nano .* 4 channels/);
});

test.each(rankings)("the masks of a lone click at $click come in the package's order", (one) => {
  const [planes, score] = [one.planes.map(floats), floats(one.score)];
  const where = geometryOf(one.size as Size, spec);
  const { found, shared } = factsOf(score, planes, gridOf(one.click, where, spec));
  found.forEach((row, i) => expectClose(row, one.found[i], 3e-3));
  shared.forEach((row, i) => expectClose(row, one.shared[i], 1e-3));
  expectClose(chances(one.found, tables.ranking), one.likely, 5e-3);
  const asked = { coords: floats(one.click), labels: [1], mask: new Float32Array(), hasMask: 0 };
  const given = ranked({ planes, score }, asked, where, spec, tables.ranking, tables);
  expect(given.map((answer) => answer.order)).toEqual(one.order);
  expectClose(given.map(scoreOf), one.numbers, 1e-3);
  const [own, same] = [{}, { scores: { factor: 1, shift: 0 } }].map((lines) =>
    ranked({ planes, score }, asked, where, spec, tables.ranking, lines).map(scoreOf),
  );
  expectClose(same, own, 1e-3);
});

test.each(keptMasks)("a mask before clicks off it, %#", (one) => {
  const made = clicksOf(one);
  const [plane, before] = [Float32Array.from(one.logits), Float32Array.from(one.previous)];
  expect(keepPrevious(plane, before, made, place, 0)).toEqual(Float32Array.from(one.out));
});

test.each(clicks)("negative clicks are obeyed, %#", (one) => {
  const said = clicksOf(one);
  const out = obeyNegatives(floats(one.logits), said, place, 0);
  expectClose(out, one.out, 2e-3);
  const drawn = cutLogits(floats(one.out), place, 0).patch;
  const held = heldTo(drawn, said, place);
  const wanted = rleToPatch(cocoToRle(one.held as CocoRle));
  for (const { x, y, label } of said) {
    expect(patchHas(wanted, Math.floor(x), Math.floor(y))).toBe(label === 1);
    expect(patchHas(held, Math.floor(x), Math.floor(y))).toBe(label === 1);
  }
  expect(Math.abs(patchArea(held) - patchArea(wanted))).toBeLessThan(4);
  expect(heldTo({ ...drawn, hw: [45, 60] }, said, place).data).toBe(drawn.data); // a preview
});

test("a positive click far from the mask gets its pixel, and a negative one on it counts", () => {
  const data = Uint8Array.of(1, 1, 1, 1);
  const patch = { hw: place.imageHw, x: 10, y: 10, width: 2, height: 2, data };
  const [on, off] = [1, 0].map((label) => ({ x: 80.5, y: 3.5, label: label as 0 | 1 }));
  const held = heldTo(patch, [on, { x: 10, y: 10, label: 0 }], place);
  expect([patchArea(held), patchHas(held, 80, 3), patchHas(held, 10, 10)]).toEqual([
    4,
    true,
    false,
  ]);
  expect(patchHas(heldTo(patch, [off, on], place), 80, 3)).toBe(false);
  expect(contradicted([off, on], place)).toEqual([1]);
  expect(contradicted([on], place)).toEqual([]);
});

test.each(cleanings)("small holes and islands go, %#", (one) => {
  const said = clicksOf(one);
  expectClose(cleaned(floats(one.logits), said, place, 0), one.out, 2e-3);
});

const ofShares = ([holes, islands]: number[]) => ({
  holes: { pixels: 0, share: holes },
  islands: { pixels: 0, share: islands },
});

test.each(otherCleanings)("holes and islands go below $shares of the mask, %#", (one) => {
  const said = clicksOf(one);
  const plane = floats(one.logits);
  expectClose(cleaned(plane, said, place, 0, ofShares(one.shares)), one.out, 2e-3);
  expect(cleaned(plane, said, place, 0, ofShares([0, 0]))).toBe(plane);
});

test.each(crumbs)(
  "holes and islands go below $areas pixels, %#",
  ({ points, labels, areas: [holes, islands], ...one }) => {
    const said = clicksOf({ points, labels });
    const patch = rleToPatch(cocoToRle(one.mask as CocoRle));
    const least = { holes: { pixels: holes, share: 0 }, islands: { pixels: islands, share: 0 } };
    const before = patch.data.slice();
    const out = patchToRle(withoutCrumbs(patch, said, least));
    expect(out).toEqual(cocoToRle(one.out as CocoRle));
    expect(patch.data).toEqual(before);
  },
);

test.each(regionSizes)("the size $given means what it means in Python", ({ given, least }) => {
  if (least) return expect(parseRegionSize(given, "maxHoleArea")).toEqual(least);
  const got = typeof given === "number" ? String(given) : JSON.stringify(given);
  expect(() => parseRegionSize(given, "maxHoleArea")).toThrow(
    `maxHoleArea must be a number of pixels (1 or more), a share of the mask (0.05 or "5%", less ` +
      `than "100%"), or 0 or false for off. Given: ${got}.`,
  );
});

test("sizes are off with false, and usual with auto; what is no number is no size", () => {
  expect(parseRegionSize(false, "area")).toEqual({ pixels: 0, share: 0 });
  expect(parseRegionSize("auto", "area")).toEqual(USUAL.holes);
  for (const given of [NaN, Infinity, "0x10", {}]) {
    expect(() => parseRegionSize(given, "area")).toThrow("area must be a number of pixels");
  }
});

test.each(arrangements)(
  "of found masks those are shown that the package shows, from $least on, %#",
  ({ rles, score, least, ...wanted }) => {
    const found = rles.map((coco, place) => {
      const patch = rleToPatch(cocoToRle(coco as CocoRle));
      return { patch, area: patchArea(patch), score: score[place], place };
    });
    const { shown, others } = parted(withoutOverlaps(found, DUPLICATE, "union"), least);
    expect(shown.map((one) => one.place)).toEqual(wanted.shown);
    expect(others.map((one) => one.place)).toEqual(wanted.others);
  },
);

test.each(images)("a photo of $size is seen as the package sees it, $resample", async (one) => {
  const [height, width] = one.size;
  const rgba = new Uint8ClampedArray(height * width * 4);
  for (let i = 0; i < height * width; i++) {
    rgba.set([...one.image.slice(3 * i, 3 * i + 3), 255], 4 * i);
  }
  const read = async (top: number, rows: number) =>
    rgba.subarray(top * width * 4, (top + rows) * width * 4);
  const resample = one.resample as Spec["resample"];
  const how = { ...spec, image_side: 32, pad_multiple: one.pad_multiple, resample };
  const { pixels, size } = await imageToModel([height, width], how, read);
  expect(size).toEqual(one.input);
  expectClose(pixels, one.seen, resample === "area" ? 2e-3 : 1.5 / 127.5);
});

test.each(looks)("a box is asked again with its answer, clicked at $coords", (one) => {
  const given = {
    coords: floats(one.coords.slice(0, 4)),
    labels: one.labels.slice(0, 2),
    mask: new Float32Array(256),
    hasMask: 0,
  };
  const first = { planes: one.planes.map(floats), score: floats(one.score) };
  const out = withMiddleClick(given, first, spec);
  expect([...out.coords]).toEqual(one.coords);
  expect(out.labels).toEqual(one.labels);
  expect(out.hasMask).toBe(1);
  expectClose(out.mask, one.mask, 2e-3);
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
    expect(refusal(said, picky)).toBe("small does not support background points.");
    expect(refusal(said, spec)).toBeNull();
  });
});

test("part and whole are the smallest and the largest of the good candidates", () => {
  const sized = (cells: number, score: number, order: number) => ({
    logits: Float32Array.from({ length: 256 }, (_, i) => (i < cells ? 1 : -1)),
    score,
    order,
  });
  const all = [sized(20, 0.9, 0), sized(60, 0.85, 1), sized(5, 0.88, 2), sized(100, 0.3, 3)];
  const first = (how: "all" | number) => chosenFirst(all, how, place, 0)[0].order;
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
    const features = readFeatures(bytes());
    expect(features.geometry).toEqual({ imageHw: [90, 120], inputHw: [48, 64], side: 64 });
    expectClose(features.maps[0].data, [1, -2, 0.333251953125, 2 ** -24], 1e-9);
  });

  test("is refused when it is cut off", () => {
    expect(() => readFeatures(bytes().slice(0, -2))).toThrow("map features is truncated");
    expect(() => readFeatures(new ArrayBuffer(2))).toThrow("2 bytes");
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
