/** Names without a server: close-ups and names as the package has them (tests/web/name_fixtures.py). */

import { readFile } from "node:fs/promises";

import { describe, expect, test, vi } from "vitest";

import { patchToRle } from "../src/masks/patch";
import { cocoToRle, type CocoRle, type Rle } from "../src/masks/rle";
import type { Model } from "../src/model/client";
import { closeUp } from "../src/model/close_up";
import { NameTable, readTable } from "../src/model/name_table";
import { readNpz } from "../src/model/npz";
import { rowsIn } from "../src/model/resample";
import { editDistance, likeness, plainWord } from "../src/model/spelling";
import { PageNamer } from "../src/store/namer";
import { expectClose } from "./close";
import closeUps from "./fixtures/closeUps.json";
import known from "./fixtures/names.json";
import { striped } from "./samples";

const SIDE = 18;
const NPZ = new URL("../../src/anymask/assets/nano/names.npz", import.meta.url);

const bundled = async () => {
  const file = await readFile(NPZ);
  return file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer;
};

/** Four names along four axes, the last of which no image showed. */
function fourNames(scale = 4): NameTable {
  const words = ["cat", "dog", "traffic light", "hog"];
  const also = new Map([...words.map((word, n) => [word, n] as const), ["pig", 3] as const]);
  const vectors = Float32Array.from({ length: 16 }, (_, i) => Number(i % 5 === 0));
  return new NameTable({ words, also, vectors, learned: [1, 1, 1, 0], scale });
}

const softmax = (logits: number[]) => {
  const powers = logits.map(Math.exp);
  return powers.map((power) => power / powers.reduce((a, b) => a + b));
};

describe("a close-up", () => {
  test.each(closeUps)("of mask $mask.counts is what Python sees, but for a level", async (one) => {
    const rle = cocoToRle(one.mask as CocoRle);
    const image = striped(rle.size);
    const seen = await closeUp(rle, (window) => rowsIn(image, window), SIDE);
    const covered = seen.mask.map((part) => part * 255);
    expectClose(seen.image, one.image, 1 + 1e-4);
    expectClose(covered, one.covered, 1 + 2e-4);
  });

  test("at the photo's own scale is a slice, gray beyond the photo", async () => {
    const image = striped([60, 80]);
    const patch = { x: 0, y: 20, width: 20, height: 20, data: new Uint8Array(400).fill(1) };
    const rle = patchToRle({ ...patch, hw: [60, 80] });
    const seen = await closeUp(rle, (window) => rowsIn(image, window), 36); // 1.8 times 20
    const wanted = Array.from({ length: 36 * 36 }, (_, at) => {
      const [y, x] = [12 + Math.floor(at / 36), (at % 36) - 8];
      return x < 0 ? 128 : image.data[4 * (y * 80 + x) + 1];
    });
    expect([...seen.image.subarray(36 * 36, 2 * 36 * 36)]).toEqual(wanted);
    expect(seen.mask.reduce((a, b) => a + b)).toBe(400);
    expect([seen.mask[8 * 36 + 8], seen.mask[8 * 36 + 7]]).toEqual([1, 0]);
  });
});

describe("a table of names", () => {
  test("has the nearest name first, its chance of a softmax over what was learned", () => {
    const told = fourNames()
      .chosen(null)
      .suggest(Float32Array.of(0.6, 0.8, 0, 0), 5);
    expect(told.map((one) => one.label)).toEqual(["dog", "cat", "traffic light"]);
    softmax([3.2, 2.4, 0]).forEach((chance, i) =>
      expect(told[i].probability).toBeCloseTo(chance, 3),
    );
  });

  test("leaves room for learned names that are no choice, and tells names as written", () => {
    const dog = Float32Array.of(0, 1, 0, 0);
    const told = fourNames().chosen(["pig", " Cat", "Cat"]).suggest(dog, 5);
    expect(told.map((one) => one.label)).toEqual(["pig", "Cat"]);
    const [pig] = softmax([0, 0, 4, 0]); // pig, cat; dog, traffic light
    expect(told[0].probability).toBeCloseTo(pig, 3);
    expect(fourNames().chosen(["dog", "pig"]).suggest(dog, 1)).toEqual([
      { label: "dog", probability: expect.closeTo(softmax([4, 0, 0, 0])[0], 3) },
    ]);
  });

  test("does not overflow", () => {
    const told = fourNames(2000)
      .chosen(null)
      .suggest(Float32Array.of(0, 1, 0, 0), 1);
    expect(told).toEqual([{ label: "dog", probability: 1 }]);
  });

  test.each([
    [["cat", "dgo"], /Unknown name "dgo".* dog\./],
    [["xyzzyx"], /No known name is close/],
    [[" "], /names is empty/],
  ])("refuses %j", (names, says) => {
    expect(() => fourNames().chosen(names)).toThrow(says);
  });

  test("of the bundle says what Python says", async () => {
    const table = await readTable(await bundled());
    for (const [word, near] of Object.entries(known.near)) expect(table.near(word)).toEqual(near);
    const { names } = table as unknown as { names: ConstructorParameters<typeof NameTable>[0] };
    const [cat, dog] = ["cat", "dog"].map((word) => names.also.get(word)! * 192);
    const vector = Float32Array.from(
      { length: 192 },
      (_, i) => 0.4 * names.vectors[cat + i] + 0.6 * names.vectors[dog + i],
    );
    for (const [i, choice] of [null, ["cat", "Dog", "lamp"]].entries()) {
      const told = table.chosen(choice).suggest(vector, 4);
      const { labels, chances } = known.suggested[i];
      expect(told.map((one) => one.label)).toEqual(labels);
      told.forEach((one, n) => expect(one.probability).toBeCloseTo(chances[n], 3));
    }
  });
});

test("words are compared by their letters", () => {
  expect(plainWord(" Traffic_Light  A ")).toBe("traffic light a");
  const slips = [
    ["", ""],
    ["", "ab"],
    ["kat", "cat"],
    ["dgo", "dog"],
    ["kitten", "sitting"],
  ];
  expect(slips.map(([one, other]) => editDistance(one, other))).toEqual([0, 2, 1, 1, 3]);
  expect(likeness("abcd", "bcde")).toBe(0.75); // difflib's own example
  expect([likeness("", ""), likeness("a", "")]).toEqual([1, 0]);
});

describe("an archive of arrays", () => {
  test("is read as NumPy wrote it", async () => {
    const arrays = await readNpz(await bundled());
    const told = [...arrays].map(([name, { dtype, shape }]) => [name, dtype, shape.length]);
    expect(told).toEqual([
      ["words", "|u1", 1],
      ["vectors", "<f2", 2],
      ["learned", "|b1", 1],
      ["scale", "<f4", 0],
    ]);
    const { shape, bytes } = arrays.get("vectors")!;
    expect(bytes.byteLength).toBe(2 * shape[0] * shape[1]);
  });

  test("that is cut off or something else is one error", async () => {
    const whole = await bundled();
    const wanted = "not a valid array archive";
    await expect(readNpz(whole.slice(0, 1000))).rejects.toThrow(wanted);
    await expect(readNpz(whole.slice(1000))).rejects.toThrow(wanted);
    await expect(readNpz(new ArrayBuffer(3))).rejects.toThrow(wanted);
    await expect(readTable(emptyZip())).rejects.toThrow(/words must be .* missing/);
  });
});

function emptyZip(): ArrayBuffer {
  const bytes = new ArrayBuffer(22);
  new DataView(bytes).setUint32(0, 0x06054b50, true);
  return bytes;
}

test("the page leaves out what its model does not know, and says whether it knew any", async () => {
  const rle: Rle = { size: [2, 2], counts: Uint32Array.of(0, 4) };
  const maskVectors = vi.fn(async () => [Float32Array.of(0, 1, 0, 0)]);
  const model = { nameTable: async () => fourNames(), maskVectors } as unknown as Model;
  const namer = new PageNamer(() => model);
  const ask = (names: string[]) => {
    const wish = { key: "a", image: "", masks: [rle], names, top: 2 };
    return namer.ask(wish, new AbortController().signal);
  };
  const some = await ask(["mitosis", "pig"]);
  expect([some.among, some.suggestions[0].map((one) => one.label)]).toEqual([true, ["pig"]]);
  for (const names of [[], ["mitosis"]]) {
    const all = await ask(names);
    expect([all.among, all.suggestions[0][0].label]).toEqual([false, "dog"]);
  }
});
