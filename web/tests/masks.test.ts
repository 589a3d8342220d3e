import { describe, expect, test } from "vitest";

import { fillRings, simplified, tracePatch, withoutStairs } from "../src/masks/outline";
import { emptyPatch, grown, patchArea, patchHas, patchToRle, rleToPatch } from "../src/masks/patch";
import type { Patch } from "../src/masks/patch";
import {
  cocoToRle,
  rleArea,
  rleBox,
  rleCombine,
  rleHas,
  rleIou,
  rleToCoco,
  rleToString,
  stringToRle,
} from "../src/masks/rle";
import { simplifiedMask } from "../src/masks/simplify";
import { withStroke } from "../src/masks/strokes";
import { parts } from "../src/state/combining";
import cases from "./fixtures/rle.json";

function patchOf(rows: string[]): Patch {
  const [height, width] = [rows.length, rows[0].length];
  const data = Uint8Array.from([...rows.join("")].map(Number));
  return { hw: [height, width], x: 0, y: 0, width, height, data };
}

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function randomPatch(seed: number, height: number, width: number): Patch {
  const next = random(seed);
  const data = Uint8Array.from({ length: height * width }, () => (next() > 0.45 ? 1 : 0));
  return { hw: [height, width], x: 0, y: 0, width, height, data };
}

const pixels = (patch: Patch) => {
  const [height, width] = patch.hw;
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => (patchHas(patch, x, y) ? 1 : 0)).join(""),
  );
};

describe("run lengths are the package's, byte for byte", () => {
  test.each(cases.map((one, i) => [i, one] as const))("case %i", (_, one) => {
    const rle = patchToRle(patchOf(one.rows));
    expect([...rle.counts]).toEqual(one.counts);
    expect(rleToCoco(rle)).toEqual(one.coco);
    expect(rleBox(rle)).toEqual(one.box);
    const read = cocoToRle(one.coco as { size: [number, number]; counts: string });
    expect([...read.counts]).toEqual(one.counts);
    expect(pixels(rleToPatch(read))).toEqual(one.rows);
    expect(rleArea(read)).toBe([...one.rows.join("")].filter((v) => v === "1").length);
  });

  test("plain counts are read", () => {
    expect(rleToString(cocoToRle({ size: [2, 3], counts: [1, 2, 3] }))).toBe("123");
  });

  test.each([
    ["cut off", "1P", "truncated"],
    ["a wrong letter", "!", "characters"],
    ["a wrong size", "12", "sum to 3. They must sum to H * W = 2 * 3 = 6"],
  ])("%s is refused", (_, text, message) => {
    expect(() => stringToRle(text, [2, 3])).toThrow(message);
  });

  test("large counts keep their digits", () => {
    const rle = { size: [9000, 9000] as [number, number], counts: Uint32Array.of(80_999_999, 1) };
    expect([...stringToRle(rleToString(rle), rle.size).counts]).toEqual([80_999_999, 1]);
  });
});

describe("run lengths agree with pixels", () => {
  const sizes = [
    [1, 1],
    [1, 7],
    [7, 1],
    [13, 8],
  ];
  test.each(sizes)("%i x %i", (height, width) => {
    const [a, b] = [randomPatch(1, height, width), randomPatch(2, height, width)];
    const [first, second] = [patchToRle(a), patchToRle(b)];
    const both = (how: "union" | "minus" | "both", rule: (p: number, q: number) => boolean) => {
      const wanted = a.data.map((value, i) => (rule(value, b.data[i]) ? 1 : 0));
      expect(pixels(rleToPatch(rleCombine(first, second, how)))).toEqual(
        pixels({ ...a, data: wanted }),
      );
      return wanted.reduce((sum, value) => sum + value, 0);
    };
    const union = both("union", (p, q) => p + q > 0);
    both("minus", (p, q) => p === 1 && q === 0);
    const common = both("both", (p, q) => p + q === 2);
    expect(rleIou(first, second)).toBeCloseTo(common / Math.max(1, union));
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) expect(rleHas(first, x, y)).toBe(patchHas(a, x, y));
    }
  });
});

describe("outlines", () => {
  test.each([3, 4, 5, 6])("filled again they are the mask, %i", (seed) => {
    const patch = randomPatch(seed, 12, 9);
    expect(pixels(fillRings(tracePatch(patch), patch.hw))).toEqual(pixels(patch));
  });

  test.each([3, 4, 5, 6])("without stairs they hold the same pixels, %i", (seed) => {
    const patch = randomPatch(seed, 12, 9);
    const rings = tracePatch(patch).map(withoutStairs);
    expect(pixels(fillRings(rings, patch.hw))).toEqual(pixels(patch));
  });

  test("a stair becomes a slope, a large corner stays", () => {
    const rows = [0, 1, 2, 3, 4].map((y) => "1".repeat(y + 4) + "0".repeat(4 - y));
    const [ring] = tracePatch(patchOf(rows)).map(withoutStairs);
    expect(ring).toContainEqual([0, 0]);
    expect(simplified(ring, 0.5).length).toBeLessThan(7);
    expect(tracePatch(patchOf(rows))[0].length).toBe(12);
  });

  test("a ring with a hole is two rings, corners only", () => {
    const rings = tracePatch(patchOf(["1111", "1001", "1001", "1111"]));
    expect(rings.map((ring) => ring.length)).toEqual([4, 4]);
  });

  test("simplifying drops what is nearer than the tolerance", () => {
    const ring = [
      [0, 0],
      [5, 0.4],
      [10, 0],
      [10, 10],
      [0, 10],
    ] as [number, number][];
    expect(simplified(ring, 0.5)).toEqual([ring[0], ring[2], ring[3], ring[4]]);
    expect(simplified(ring, 0.3)).toEqual(ring);
  });

  test("a ring that leaves the photo is cut at its border", () => {
    const ring = [
      [-5, -5],
      [3, -5],
      [3, 20],
      [-5, 20],
    ] as [number, number][];
    const patch = fillRings([ring], [4, 6]);
    expect([patch.x, patch.y, patch.width, patch.height]).toEqual([0, 0, 3, 4]);
    expect(patchArea(patch)).toBe(12);
  });
});

describe("the brush", () => {
  const disc = { value: 1 as const, radius: 3, points: [[10, 10]] as [number, number][] };

  test("paints the pixels whose centres are near enough", () => {
    const painted = withStroke(emptyPatch([20, 20]), disc);
    for (let y = 0; y < 20; y++) {
      for (let x = 0; x < 20; x++) {
        const near = Math.hypot(x + 0.5 - 10, y + 0.5 - 10) <= 3;
        expect(patchHas(painted, x, y)).toBe(near);
      }
    }
  });

  test("leaves the old mask as it was, and the eraser takes away", () => {
    const full = grown(emptyPatch([8, 8]), 0, 0, 8, 8);
    full.data.fill(1);
    const hole = withStroke(full, { value: 0, radius: 1, points: [[4, 4]] });
    expect(patchArea(full)).toBe(64);
    expect(patchArea(hole)).toBe(60);
  });

  test("stays on the photo", () => {
    const corner = withStroke(emptyPatch([20, 20]), { ...disc, points: [[0, 0]] });
    expect([corner.x, corner.y]).toEqual([0, 0]);
    expect(patchHas(corner, 0, 0)).toBe(true);
  });
});

test("parts touch at a side or a corner, the largest comes first, and together they are all", () => {
  const whole = patchOf(["1100010", "0010000", "0000011", "1000011"]);
  const found = parts(whole);
  expect(found.map(patchArea)).toEqual([4, 3, 1, 1]);
  for (let seed = 1; seed < 20; seed++) {
    const some = randomPatch(seed, 13, 17);
    const sum = new Uint8Array(some.data.length);
    for (const { data } of parts(some)) data.forEach((value, i) => (sum[i] += value));
    expect([...sum]).toEqual([...some.data]);
  }
});

describe("simplifying a mask", () => {
  const simple = (patch: Patch, tolerance: number) =>
    simplifiedMask(patch, tracePatch(patch), tolerance);
  const sorted = (points: readonly (readonly number[])[]) => points.map(String).sort();

  test("a tolerance of 0 changes nothing, and gives the very mask back", () => {
    for (let seed = 1; seed < 20; seed++) {
      const patch = randomPatch(seed, 9 + seed, 23 - seed);
      expect(simple(patch, 0).patch).toBe(patch);
      expect(simple(patch, 0).rings).toEqual(tracePatch(patch));
    }
  });

  test("a polygon of straight sides keeps its corners and its pixels", () => {
    for (let seed = 1; seed < 60; seed++) {
      const next = random(seed);
      const cut = () => 8 + Math.floor(12 * next());
      const [a, b, c, d] = [cut(), cut(), cut(), cut()]; // a cross of four unlike arms, and a hole
      const [x, y] = [30 + Math.floor(9 * next()), 30 + Math.floor(9 * next())];
      const cross = [
        [x - 9, y - 9 - a], [x + 9, y - 9 - a], [x + 9, y - 9], [x + 9 + b, y - 9],
        [x + 9 + b, y + 9], [x + 9, y + 9], [x + 9, y + 9 + c], [x - 9, y + 9 + c],
        [x - 9, y + 9], [x - 9 - d, y + 9], [x - 9 - d, y - 9], [x - 9, y - 9],
      ] as [number, number][]; // prettier-ignore
      const hole = [
        [x - 4, y - 4],
        [x - 4, y + 4],
        [x + 4, y + 4],
        [x + 4, y - 4],
      ] as [number, number][];
      const patch = fillRings([cross, hole], [80, 80]);
      const { rings, patch: made } = simple(patch, 0.5 + 3 * next());
      expect(sorted(rings.flat())).toEqual(sorted([...cross, ...hole]));
      expect(patchToRle(made)).toEqual(patchToRle(patch));
    }
  });

  test("a slanted polygon is left with few corners, one near each of its own", () => {
    for (let seed = 1; seed < 40; seed++) {
      const next = random(seed);
      const corners = Array.from({ length: 5 }, (_, i): [number, number] => {
        const angle = ((i + 0.5 * next()) / 5) * 2 * Math.PI;
        return [100 + 70 * Math.cos(angle), 100 + 70 * Math.sin(angle)];
      });
      const patch = fillRings([corners], [200, 200]);
      const { rings, patch: made } = simple(patch, 1.5);
      expect(rings).toHaveLength(1);
      expect(rings[0].length).toBeLessThanOrEqual(8);
      for (const [x, y] of corners) {
        const near = Math.min(...rings[0].map((point) => Math.hypot(point[0] - x, point[1] - y)));
        expect(near).toBeLessThan(4);
      }
      expect(rleIou(patchToRle(made), patchToRle(patch))).toBeGreaterThan(0.98);
    }
  });

  test("every traced corner lies within the tolerance of the new outline", () => {
    for (let seed = 1; seed < 12; seed++) {
      const patch = fillRings(
        [0, 1, 2].map((i) => {
          const next = random(10 * seed + i);
          const [cx, cy, r] = [20 + 60 * next(), 20 + 60 * next(), 6 + 12 * next()];
          return Array.from({ length: 24 }, (_, k): [number, number] => {
            const reach = r * (0.7 + 0.6 * next());
            return [cx + reach * Math.cos(k / 3.82), cy + reach * Math.sin(k / 3.82)];
          });
        }),
        [100, 100],
      );
      for (const tolerance of [0.5, 2, 4]) {
        const traced = tracePatch(patch);
        const { rings } = simple(patch, tolerance);
        traced.forEach((ring, i) => {
          const line = [...rings[i], rings[i][0]];
          for (const point of ring) {
            const off = Math.min(...line.slice(1).map((to, k) => fromSide(point, line[k], to)));
            expect(off).toBeLessThanOrEqual(tolerance + 0.71); // half a pixel each way: its stairs
          }
        });
      }
    }
  });

  test("parts, holes and masks too small for the tolerance stay", () => {
    const rows = ["1000000000", "0001111110", "0001111110", "0001101110", "0001111110"];
    const patch = patchOf(rows);
    expect(pixels(simple(patch, 9).patch)).toEqual(rows);
    expect(patchArea(simple(emptyPatch([5, 5]), 3).patch)).toBe(0);
  });

  test("a hole that reaches over the outline fills nothing beyond it", () => {
    const round = (count: number, reach: (k: number) => number) =>
      Array.from({ length: count }, (_, k): [number, number] => {
        const angle = (2 * Math.PI * k) / count;
        return [100 + reach(k) * Math.cos(angle), 100 + reach(k) * Math.sin(angle)];
      });
    const star = round(32, (k) => (k % 2 ? 60 : 87)); // its points lie where the disc is cut off
    const patch = fillRings([round(200, () => 90), star], [200, 200]);
    const { patch: made, rings } = simple(patch, 7);
    const outer = fillRings([rings[0]], [200, 200]);
    expect(rleArea(rleCombine(patchToRle(made), patchToRle(outer), "minus"))).toBe(0);
    expect(patchArea(made)).toBeGreaterThan(0.3 * patchArea(patch));
  });
});

/** How far a point lies from a line between two others. */
function fromSide([x, y]: readonly number[], a: readonly number[], b: readonly number[]): number {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const along = ((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy || 1);
  const t = Math.min(1, Math.max(0, along));
  return Math.hypot(x - a[0] - t * dx, y - a[1] - t * dy);
}
