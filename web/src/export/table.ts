/** The work as a table: a row of measurements a mask (`masks/measure.py`), as CSV. */

import { ringArea, simplified, tracePatch, withoutStairs, type Ring } from "../masks/outline";
import { rleToPatch, type Patch } from "../masks/patch";
import { cocoToRle, type Rle } from "../masks/rle";
import type { XY } from "../model/geometry";
import type { Part } from "./files";
import type { Entry } from "./zip";

const DIGITS = 6; // of a number in a table
const ROUND = 1e-9; // difference of the axes, as a part, below which there is no long one
const SMOOTH = 0.5; // pixels that a smooth outline may move

/** Each measurement by its name, in the order of the columns; all are zero for an empty mask. */
export type Measurements = Record<(typeof MEASURED)[number], number>;

const MEASURED = [
  "area",
  "x",
  "y",
  "x0",
  "y0",
  "x1",
  "y1",
  "perimeter",
  "diameter",
  "length",
  "width",
  "angle",
  "circularity",
  "solidity",
  "parts",
  "holes",
] as const;

/** A file with a row for each mask of each image; masks are numbered from 1 in their image. */
export function tableFile({ images, records }: Part, name: string): Entry {
  const rows: (string | number)[][] = [["image", "number", "label", "score", ...MEASURED]];
  for (const image of images) {
    const own = records.filter((record) => record.image === image.id);
    own.forEach((record, i) => {
      const numbers = measured(cocoToRle(record.rle));
      const told = [record.score ?? 0, ...MEASURED.map((key) => numbers[key])];
      const cells = told.map((value) => Number(value.toPrecision(DIGITS)));
      rows.push([image.name, i + 1, record.label ?? "", ...cells]);
    });
  }
  const text = rows.map((row) => `${row.map(cell).join(",")}\n`).join("");
  return { name, blob: new Blob([text], { type: "text/csv" }) };
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** A cell as `base/tables.py` writes it: a spreadsheet must not evaluate a label as a formula. */
function cell(value: string | number): string {
  const text = String(value);
  const isFormula = /^'*[=+\-@\t\r]/.test(text) && !NUMBER.test(text);
  const safe = isFormula ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function measured(rle: Rle): Measurements {
  const patch = rleToPatch(rle);
  const { area, x, y, length, width, angle } = ellipse(patch);
  if (!area) return Object.fromEntries(MEASURED.map((key) => [key, 0])) as Measurements;
  const perimeter = tracePatch(patch, true).reduce((sum, ring) => sum + lengthOf(smooth(ring)), 0);
  const rings = tracePatch(patch);
  const parts = rings.filter((ring) => ringArea(ring) > 0).length;
  return {
    area,
    x,
    y,
    x0: patch.x,
    y0: patch.y,
    x1: patch.x + patch.width - 1,
    y1: patch.y + patch.height - 1,
    perimeter,
    diameter: 2 * Math.sqrt(area / Math.PI),
    length,
    width,
    angle,
    circularity: Math.min(1, (4 * Math.PI * area) / perimeter ** 2),
    solidity: area / ringArea(hull(rings.flat())),
    parts,
    holes: rings.length - parts,
  };
}

/** Area, center, both axes of the ellipse with the same second moments, and its angle. */
function ellipse({ data, width, height, x: left, y: top }: Patch) {
  let [area, sumX, sumY, sumXX, sumYY, sumXY] = [0, 0, 0, 0, 0, 0];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      if (!data[row * width + column]) continue;
      area += 1;
      [sumX, sumY] = [sumX + column, sumY + row];
      sumXX += column * column;
      sumYY += row * row;
      sumXY += column * row;
    }
  }
  const [x, y] = [sumX / area, sumY / area];
  const xx = sumXX / area - x * x + 1 / 12; // a pixel is a square, not a point
  const yy = sumYY / area - y * y + 1 / 12;
  const xy = sumXY / area - x * y;
  const [middle, apart] = [(xx + yy) / 2, Math.hypot((xx - yy) / 2, xy)];
  return {
    area,
    x: left + x + 0.5,
    y: top + y + 0.5,
    length: 4 * Math.sqrt(middle + apart),
    width: 4 * Math.sqrt(Math.max(0, middle - apart)),
    angle: apart < ROUND * middle ? 0 : (Math.atan2(2 * xy, xx - yy) * 90) / Math.PI,
  };
}

/** A traced ring as people see it; a hole that shrinks to nothing has no points. */
function smooth(ring: Ring): Ring {
  const line = withoutStairs(ring);
  const short = simplified(line, SMOOTH); // the line itself where two corners would be left
  if (short !== line && ringArea(short) * ringArea(ring) > 0) return short;
  return ringArea(ring) > 0 ? ring : [];
}

function lengthOf(ring: Ring): number {
  return ring.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = ring[(i + 1) % ring.length];
    return sum + Math.hypot(nextX - x, nextY - y);
  }, 0);
}

/** The convex hull of points (monotone chain), in the direction of traced outer rings. */
function hull(points: readonly XY[]): Ring {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (some: readonly XY[]) => {
    const chain: XY[] = [];
    for (const [x, y] of some) {
      while (chain.length > 1) {
        const [[ax, ay], [bx, by]] = chain.slice(-2);
        if ((bx - ax) * (y - ay) > (by - ay) * (x - ax)) break;
        chain.pop();
      }
      chain.push([x, y]);
    }
    return chain.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}
