/** Clicks on a mask that is there: each adds a part to it, or takes one away, where it points. */

import { grown, patchHas, type Patch } from "../masks/patch";
import { deepestCell } from "../model/families/nano-facts";
import type { Click } from "../model/negative_clicks";
import { regions } from "../model/regions";

const CELLS = 128; // along the longer side of a mask whose middle is looked for
const AWAY = 0.25; // of that side

/** A click where a mask is thickest, away from those that take something from it. */
export function middleOf(mask: Patch, clicks: readonly Click[]): Click[] {
  const step = Math.max(mask.width, mask.height) / CELLS;
  const away = clicks.filter(({ label }) => !label);
  const plane = Float32Array.from({ length: CELLS ** 2 }, (_, at) => {
    const [x, y] = [
      mask.x + ((at % CELLS) + 0.5) * step,
      mask.y + (Math.floor(at / CELLS) + 0.5) * step,
    ];
    const far = away.every((one) => Math.hypot(one.x - x, one.y - y) > AWAY * CELLS * step);
    return far && patchHas(mask, Math.floor(x), Math.floor(y)) ? 1 : 0;
  });
  const [x, y] = deepestCell(plane, CELLS, 0.5) ?? [];
  if (x === undefined || y === undefined) return [];
  return [{ x: mask.x + (x + 0.5) * step, y: mask.y + (y + 0.5) * step, label: 1 }];
}

/** A mask with the clicked parts of the model's answer to it, and without those that it lacks. */
export function mended(old: Patch, answer: Patch, clicks: readonly Click[]): Patch {
  const [down, right] = [0, 1].map((axis) => old.hw[axis] / answer.hw[axis]);
  const { width, height, x, y, data } = grown(
    answer,
    Math.floor(old.x / right),
    Math.floor(old.y / down),
    Math.ceil((old.x + old.width) / right),
    Math.ceil((old.y + old.height) / down),
  );
  const was = data.map((_, at) => {
    const column = Math.floor((x + (at % width) + 0.5) * right);
    return Number(patchHas(old, column, Math.floor((y + Math.floor(at / width) + 0.5) * down)));
  });
  const now = was.slice();
  for (const label of [1, 0] as const) {
    const parts = regions(
      data.map((is, at) => Number(is === label && was[at] !== label)),
      height,
      width,
    );
    const places = clicks.filter((click) => click.label === label);
    const at = places.map((click) => {
      const [column, row] = [Math.floor(click.x / right) - x, Math.floor(click.y / down) - y];
      return column < 0 || column >= width ? 0 : (parts[row * width + column] ?? 0);
    });
    const meant = new Set(at.filter(Boolean));
    parts.forEach((part, place) => meant.has(part) && (now[place] = label));
  }
  return { hw: answer.hw, x, y, width, height, data: now };
}
