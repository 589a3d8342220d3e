import { describe, expect, test } from "vitest";

import { Fingers } from "../src/canvas/fingers";
import { scaleBar } from "../src/canvas/scalebar";
import { View } from "../src/canvas/view";
import { patchToRle, rleToPatch } from "../src/masks/patch";
import { rleArea, rleBox } from "../src/masks/rle";
import { withoutOverlap } from "../src/state/shaping";
import type { Mask } from "../src/state/work";

describe("the scale bar", () => {
  test.each([
    [0.5, "µm", 1, "50 µm", 100],
    [0.5, "µm", 8, "10 µm", 160],
    [65, "nm", 1, "10 µm", 153.846],
    [65, "nm", 20, "500 nm", 153.846],
    [2, "cm", 1, "2 m", 100],
    [30, "m", 1, "2 km", 66.667],
    [1, "px", 32, "5 px", 160],
  ])("a pixel of %d %s drawn %d times as large: %s", (size, unit, scale, text, width) => {
    const bar = scaleBar({ size, unit }, scale, 160);
    expect(bar.text).toBe(text);
    expect(bar.width).toBeCloseTo(width, 2);
  });

  test.each([...Array(200).keys()])("it is as long as it says and fills its room (%d)", (i) => {
    const [size, scale] = [10 ** ((i % 41) / 7 - 3), 10 ** ((i % 23) / 6 - 2)];
    const { width, text } = scaleBar({ size, unit: "mm" }, scale, 160);
    const [number, unit] = text.split(" ");
    const mm: Record<string, number> = { nm: 1e-6, µm: 1e-3, mm: 1, cm: 10, m: 1e3, km: 1e6 };
    expect((Number(number) * mm[unit]) / ((width / scale) * size)).toBeCloseTo(1, 9);
    expect(width <= 160.001 && width > 160 / 2.5 - 0.001).toBe(true);
  });
});

const HW: [number, number] = [12, 15];

/** A mask of the pixels x0 to x1, y0 to y1. */
function rectangle(key: string, x: number, y: number, wide: number, high: number, more = {}): Mask {
  const data = new Uint8Array(wide * high).fill(1);
  const rle = patchToRle({ hw: HW, x, y, width: wide, height: high, data });
  return {
    key,
    rle,
    box: rleBox(rle),
    area: rleArea(rle),
    score: 0.9,
    label: "cell",
    state: "accepted",
    provenance: {},
    ...more,
  };
}

/** How many masks hold each pixel. */
function cover(masks: readonly Mask[]): Uint8Array {
  const count = new Uint8Array(HW[0] * HW[1]);
  for (const { rle } of masks) {
    const { x, y, width, height, data } = rleToPatch(rle);
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) count[(y + i) * HW[1] + x + j] += data[i * width + j];
    }
  }
  return count;
}

describe("a mask that takes its pixels from those beneath", () => {
  test("keeps its own, and nothing but the overlap is lost", () => {
    for (let seed = 0; seed < 60; seed++) {
      const draw = (n: number, most: number) => (seed * 7919 + n * 104729) % most;
      const masks = [0, 1, 2, 3].map((n) =>
        rectangle(`m${n}`, draw(n, 10), draw(n + 9, 8), 2 + draw(n + 3, 4), 2 + draw(n + 5, 3)),
      );
      const made = withoutOverlap(masks, [masks[3]]);
      expect(made.map((mask) => mask.key)).toEqual(["m0", "m1", "m2", "m3"]);
      expect(made[3]).toBe(masks[3]);
      const before = cover(masks);
      const after = cover(made);
      for (const mask of made.slice(0, 3)) {
        const own = cover([mask, made[3]]);
        const whole = masks.find((one) => one.key === mask.key)!;
        if (mask !== whole) expect(Math.max(...own)).toBe(1);
        if (mask !== whole) expect([mask.score, mask.provenance.by]).toEqual([null, "human"]);
      }
      expect(after.every((n, i) => n > 0 === before[i] > 0)).toBe(true);
    }
  });

  test("spares locked, hidden, raised and covered masks, and proposals", () => {
    const big = rectangle("big", 2, 2, 8, 6);
    const others = [
      rectangle("locked", 0, 0, 4, 4, { notes: { locked: true } }),
      rectangle("hidden", 0, 0, 4, 4, { notes: { hidden: true } }),
      rectangle("raised", 0, 0, 4, 4, { notes: { level: 1 } }),
      rectangle("covered", 4, 4, 2, 2),
      rectangle("proposed", 0, 0, 4, 4, { state: "proposed" }),
      rectangle("apart", 12, 9, 2, 2),
    ];
    expect(withoutOverlap([...others, big], [big])).toEqual([...others, big]);
  });

  test("of several that take at once the first comes first", () => {
    const [a, b, c] = [
      rectangle("a", 0, 0, 4, 4),
      rectangle("b", 2, 0, 4, 4),
      rectangle("c", 4, 0, 4, 4),
    ];
    const made = withoutOverlap([a, b, c], [b, a]);
    expect(made.map((mask) => mask.area)).toEqual([8, 16, 8]);
    expect(Math.max(...cover(made))).toBe(1);
  });
});

describe("fingers on a photo", () => {
  function screen() {
    const view = new View();
    Object.assign(view, { width: 400, height: 600, hw: [200, 200] });
    view.fit();
    const heard: string[] = [];
    const hear = (what: string) => (event: PointerEvent) => void heard.push(what + event.pointerId);
    const hearer = { down: hear("down"), moved: hear("moved"), up: hear("up") };
    const dropped = hear("dropped");
    const fingers = new Fingers(view, { ...hearer, dropped, viewed: () => heard.push("viewed") });
    const event = (pointerId: number, pointerType = "touch") =>
      ({ pointerId, pointerType }) as PointerEvent;
    return { view, heard, fingers, event };
  }

  test("two move and zoom it: what is under them stays under them, and nothing is clicked", () => {
    const { view, heard, fingers, event } = screen();
    const [a, b] = [view.toImage([150, 300]), view.toImage([250, 300])];
    fingers.down(event(1), [150, 300]);
    fingers.down(event(2), [250, 300]);
    fingers.moved(event(1), [100, 320]);
    fingers.moved(event(2), [300, 320]);
    expect(view.toScreen(a)).toEqual([expect.closeTo(100, 6), expect.closeTo(320, 6)]);
    expect(view.toScreen(b)).toEqual([expect.closeTo(300, 6), expect.closeTo(320, 6)]);
    fingers.up(event(1));
    fingers.moved(event(2), [10, 10]);
    fingers.up(event(2));
    expect(heard).toEqual(["viewed", "viewed"]);
    fingers.down(event(3), [50, 50]);
    fingers.up(event(3));
    expect(heard.slice(2)).toEqual(["down3", "up3"]);
  });

  test("one is a pointer once it moves, and a second one does not disturb its line", () => {
    const { heard, fingers, event, view } = screen();
    const { scale } = view;
    fingers.down(event(1), [50, 50]);
    fingers.moved(event(1), [53, 50]);
    expect(heard).toEqual([]);
    fingers.moved(event(1), [70, 50]);
    fingers.down(event(2), [200, 200]);
    fingers.moved(event(2), [220, 220]);
    fingers.moved(event(1), [90, 50]);
    fingers.up(event(2));
    fingers.up(event(1));
    expect(heard).toEqual(["down1", "moved1", "moved1", "up1"]);
    expect(view.scale).toBe(scale);
  });

  test("a mouse is heard at once, and a finger that the system takes clicks nothing", () => {
    const { heard, fingers, event } = screen();
    fingers.down(event(1, "mouse"), [50, 50]);
    expect(heard).toEqual(["down1"]);
    fingers.down(event(2), [50, 50]);
    fingers.dropped(event(2));
    expect(heard).toEqual(["down1"]);
  });
});
