/** Words as they are compared, and how far two are apart (`models/rules/names.py`). */

/** Small letters, single spaces. */
export const plainWord = (word: string) =>
  word.replaceAll("_", " ").toLowerCase().trim().replace(/\s+/g, " ");

/** How many letters were added, left out, mistaken, or swapped with the next one. */
export function editDistance(first: string, second: string): number {
  let [earlier, before]: number[][] = [[], []];
  let row = Array.from({ length: second.length + 1 }, (_, place) => place);
  for (let i = 0; i < first.length; i++) {
    [earlier, before, row] = [before, row, [i + 1]];
    for (let j = 0; j < second.length; j++) {
      const mistaken = before[j] + Number(first[i] !== second[j]);
      let cost = Math.min(before[j + 1] + 1, row[j] + 1, mistaken);
      const swapped = i && j && first[i - 1] === second[j] && first[i] === second[j - 1];
      if (swapped) cost = Math.min(cost, earlier[j - 1] + 1);
      row.push(cost);
    }
  }
  return row[second.length];
}

/** The share of letters that two words have in common, in the same order, as `difflib` counts. */
export function likeness(first: string, second: string): number {
  const all = first.length + second.length;
  return all ? (2 * common(first, second)) / all : 1;
}

/** Letters of the longest part that both have, and of what is common before and behind it. */
function common(first: string, second: string): number {
  let [length, at, other] = [0, 0, 0];
  let before: number[] = [];
  for (let i = 0; i < first.length; i++) {
    const row: number[] = [];
    for (let j = 0; j < second.length; j++) {
      row[j] = first[i] === second[j] ? (before[j - 1] ?? 0) + 1 : 0;
      if (row[j] > length) [length, at, other] = [row[j], i - row[j] + 1, j - row[j] + 1];
    }
    before = row;
  }
  if (!length) return 0;
  const left = common(first.slice(0, at), second.slice(0, other));
  return length + left + common(first.slice(at + length), second.slice(other + length));
}
