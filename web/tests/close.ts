import { expect } from "vitest";

/** As many numbers as wanted, each within a distance. */
export function expectClose(got: ArrayLike<number>, wanted: number[], within: number): void {
  const away = wanted.map((one, i) => Math.abs(one - got[i]));
  expect(got.length).toBe(wanted.length);
  expect(away.reduce((most, one) => Math.max(most, one), 0)).toBeLessThan(within);
}
