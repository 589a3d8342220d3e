import { describe, expect, test } from "vitest";

import { tableFile } from "../src/export/table";
import type { Placed } from "../src/export/files";
import type { ImageEntry } from "../src/store/store";
import cases from "./fixtures/tables.json";

const image = { id: "i", name: "photo.png", width: 120, height: 90 } as ImageEntry;
const records = cases.map(({ rle, label, score }) => ({
  ...{ image: "i", rle, label, score: score || null },
})) as unknown as Placed[];
const ROUGH = ["perimeter", "circularity"]; // corners are left out from another start on

/** Cells of lines without line breaks in their cells. */
const cells = (line: string) =>
  [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, bare]) => quoted?.replaceAll('""', '"') ?? bare,
  );

async function table(): Promise<string[][]> {
  const part = { images: [image], records, classes: [], tolerance: 0.5 };
  const { name, blob } = tableFile(part, "masks.csv");
  expect(name).toBe("masks.csv");
  return (await blob.text()).trimEnd().split("\n").map(cells);
}

describe("a table of measurements is the package's", () => {
  test("its columns", async () => {
    const rows = await table();
    expect(rows).toHaveLength(cases.length + 1);
    expect(rows[0]).toEqual(cases[0].header);
  });

  test.each(cases.map((one, i) => [i, one] as const))("mask %i", async (i, one) => {
    const row = (await table())[i + 1];
    expect(row.slice(0, 3)).toEqual(one.row.slice(0, 3));
    one.header.slice(3).forEach((column, k) => {
      const [wanted, got] = [Number(one.row[k + 3]), Number(row[k + 3])];
      const off = ROUGH.includes(column) ? 0.01 : 2e-6;
      expect(Math.abs(got - wanted), `${column}: ${got}, wanted ${wanted}`).toBeLessThanOrEqual(
        off * Math.max(1, Math.abs(wanted)),
      );
    });
  });

  test("labels and names are no formulas in a spreadsheet, numbers are numbers", async () => {
    const labels = [
      "=1+1",
      "+1+cmd|' /C calc'!A0",
      "-2+3",
      "@SUM(1)",
      "\t=1",
      "'=1",
      "-1.5",
      "a=b",
    ];
    const own = labels.map((label) => ({ ...records[0], label }));
    const part = {
      images: [{ ...image, name: "=a.png" }],
      records: own,
      classes: [],
      tolerance: 0,
    };
    const rows = (await tableFile(part, "x.csv").blob.text()).trimEnd().split("\n").map(cells);
    const wanted = [...labels.slice(0, 6).map((label) => `'${label}`), "-1.5", "a=b"];
    expect(rows.slice(1).map((row) => row[2])).toEqual(wanted);
    expect(rows[1][0]).toBe("'=a.png");
  });

  test("an empty photo has no row, and another photo's masks are not in it", async () => {
    const part = { images: [{ ...image, id: "j" }], records, classes: [], tolerance: 0 };
    expect((await tableFile(part, "x.csv").blob.text()).trimEnd()).toBe(cases[0].header.join(","));
  });
});
