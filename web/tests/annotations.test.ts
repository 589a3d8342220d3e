import "fake-indexeddb/auto";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { nthColor, type Rgb } from "../src/canvas/colors";
import { archive } from "../src/export/archive";
import { readAnnotations } from "../src/export/reading";
import { zipOf } from "../src/export/zip";
import { fillRings } from "../src/masks/outline";
import { patchToRle } from "../src/masks/patch";
import { cocoToRle, rleArea, rleBox, rleIou, rleToCoco } from "../src/masks/rle";
import { Expiry, SHOWN_MS } from "../src/page/expiry";
import { summary } from "../src/state/importing";
import { twinOf } from "../src/state/keeping";
import type { Message } from "../src/state/speaker";
import { NO_DRAFT, type Draft, type Mask } from "../src/state/work";
import { Database } from "../src/store/database";
import { LocalStore } from "../src/store/local";
import type { ExportWish, ImageEntry } from "../src/store/store";

vi.stubGlobal("addEventListener", () => undefined);

const HW: [number, number] = [40, 60];
const image: ImageEntry = {
  ...{ id: "i", name: "shelf/a.jpg", width: 60, height: 40 },
  ...{ status: "done", version: 1, records: 2 },
};

/** A rectangle, and a ring of pixels around a hole. */
const RLES = [
  patchToRle(fillRings([[[5, 5], [25, 5], [25, 20], [5, 20]]], HW)), // prettier-ignore
  patchToRle(
    fillRings(
      [
        [[30, 10], [55, 10], [55, 35], [30, 35]],
        [[38, 18], [47, 18], [47, 27], [38, 27]],
      ], // prettier-ignore
      HW,
    ),
  ),
];

const saved = (rle: (typeof RLES)[number], label: string | null, id: string) => ({
  ...{ id, version: 1, image: "i", rle: rleToCoco(rle), box: rleBox(rle), area: rleArea(rle) },
  ...{ score: null, label, state: "accepted" as const, provenance: {} },
});
const RECORDS = [saved(RLES[0], "cat: big", "a"), saved(RLES[1], null, "b")];

const WISH: ExportWish = {
  ...{ format: "coco", only: "done", images: false, split: null, tolerance: 0 },
  ...{ proposals: false, unlabeled: "object", force: false },
};
const exported = async (wish: Partial<ExportWish>) => {
  const work = { images: [image], records: RECORDS, names: [], pixels: async () => new Blob() };
  const { name, blob } = await archive(work, { ...WISH, ...wish });
  return new File([blob], name);
};

describe("an import in the browser", () => {
  let store: LocalStore;
  beforeEach(async () => {
    const db = await Database.open(`import-${crypto.randomUUID()}`);
    await db.put("images", { ...image, added: 0 });
    store = new LocalStore(db);
  });

  test.each(["coco", "yolo"])(
    "reads what %s exports, and the same a second time not",
    async (format) => {
      const file = await exported({ format });
      expect(await store.import(file)).toEqual({ new: 2, same: 0, strange: 0, unread: [] });
      const kept = await store.records("i");
      for (const { rle, label } of RECORDS) {
        const best = kept.find((one) => one.label === label)!;
        expect(rleIou(cocoToRle(best.rle), cocoToRle(rle))).toBeGreaterThan(0.99);
      }
      expect(await store.import(file)).toEqual({ new: 0, same: 2, strange: 0, unread: [] });
    },
  );

  test("reads polygons and boxes of other tools, with names in a list", async () => {
    const blob = await zipOf([
      { name: "set/data.yaml", blob: new Blob(["train: images\nnames: [dog, 'red cup']\n"]) },
      { name: "set/labels/train/a.txt", blob: new Blob(["1 0.5 0.5 0.5 0.5\n0 0 0 .5 0 .5 .5\n"]) },
      { name: "set/labels/train/b.txt", blob: new Blob(["0 0.5 0.5 0.5 0.5\n"]) },
    ]);
    expect(await store.import(new File([blob], "set.zip"))).toMatchObject({ new: 2, strange: 1 });
    const kept = await store.records("i");
    expect(kept.map(({ label, area }) => [label, area]).sort()).toEqual([
      ["dog", 300], // half of 30 x 20 pixels
      ["red cup", 600], // 30 x 20 pixels
    ]);
  });

  test("names what a file without annotations is", async () => {
    await expect(store.import(new File(["{}"], "a.json"))).rejects.toThrow(/no COCO or YOLO/);
    await expect(readAnnotations(new File(["x"], "a.zip"))).rejects.toThrow(/not a valid ZIP/);
  });
});

test("the summary of an import counts what was skipped", () => {
  expect(summary({ new: 1, same: 2, strange: 0, unread: [] })).toBe(
    "1 mask imported. Already in the project: 2 masks.",
  );
});

describe("an export with masks without a class", () => {
  test("asks, leaves them out, or calls them object", async () => {
    await expect(exported({ unlabeled: "ask" })).rejects.toMatchObject({ kind: "unlabeled" });
    const masks = async (unlabeled: "skip" | "object") => {
      const file = JSON.parse(await (await exported({ unlabeled })).text());
      return file.annotations.length as number;
    };
    expect([await masks("skip"), await masks("object")]).toEqual([1, 2]);
    expect(await exported({ format: "sa1b", unlabeled: "ask" })).toBeTruthy(); // has no classes
  });
});

test("the same object is recognised, another one and a proposal are not", () => {
  const mask = (rle: (typeof RLES)[number], state: Mask["state"] = "accepted") =>
    ({ key: state, rle, area: rleArea(rle), state }) as Mask;
  const [one, other] = RLES;
  expect(twinOf([mask(other), mask(one)], mask(one), NO_DRAFT)?.rle).toBe(one);
  expect(twinOf([mask(other), mask(one, "proposed")], mask(one), NO_DRAFT)).toBeNull();
  const painted = {
    ...NO_DRAFT,
    strokes: [{ value: 1, radius: 2, points: [[1, 1]] }],
  } satisfies Draft;
  expect(twinOf([mask(one)], mask(one), painted)).toBeNull();
});

test("the first sixteen class colors are far apart", () => {
  const lab = nthLab;
  for (let i = 0; i < 16; i++) {
    for (let j = 0; j < i; j++) {
      const [a, b] = [lab(nthColor(i)), lab(nthColor(j))];
      expect(Math.hypot(...a.map((value, k) => value - b[k])), `${i} and ${j}`).toBeGreaterThan(30);
    }
  }
});

/** CIE Lab of an sRGB color, D65. */
function nthLab(color: Rgb): number[] {
  const [r, g, b] = color.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const xyz = [
    (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047,
    0.2126 * r + 0.7152 * g + 0.0722 * b,
    (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883,
  ];
  const [x, y, z] = xyz.map((v) => (v > 0.008856 ? Math.cbrt(v) : 7.787 * v + 16 / 116));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

describe("messages", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const speaker = (messages: Message[]) => ({
    messages,
    dismiss: (message: Message) => void messages.splice(messages.indexOf(message), 1),
  });

  test("leave after six seconds, questions and trouble stay", () => {
    const question = { text: "Whose?", actions: [{ title: "Mine", run: () => undefined }] };
    const trouble = { text: "Not saved.", actions: [], stays: true };
    const here = speaker([{ text: "Done.", actions: [] }, question, trouble]);
    new Expiry(here, () => false).follow();
    vi.advanceTimersByTime(SHOWN_MS - 1);
    expect(here.messages.length).toBe(3);
    vi.advanceTimersByTime(1);
    expect(here.messages).toEqual([question, trouble]);
  });

  test("stay while the pointer or the focus is on them", () => {
    let held = false;
    const here = speaker([{ text: "Done.", actions: [] }]);
    const expiry = new Expiry(here, () => held);
    expiry.follow();
    held = true;
    expiry.follow();
    vi.advanceTimersByTime(10 * SHOWN_MS);
    expect(here.messages.length).toBe(1);
    held = false;
    expiry.follow();
    vi.advanceTimersByTime(SHOWN_MS);
    expect(here.messages).toEqual([]);
  });
});
