/** Keys and values of prompts and options: a wrong one is an error, never a default in silence. */

export const KEYS = {
  prompt: ["points", "labels", "box", "previous", "candidate"],
  segment: ["granularity", "refineEdges", "zoom", "maxHoleArea", "minIslandArea"],
  everything: ["progress", "maxHoleArea", "minIslandArea"],
  suggestNames: ["names", "top"],
  cutout: ["crop", "margin", "background", "soft"],
  toBlob: ["type", "quality", "crop", "margin", "background", "soft"],
  load: ["model"],
} as const;

/** Throws an Error for the first key that is not known, with the nearest one that is. */
export function checkKeys(given: object, place: keyof typeof KEYS): void {
  const known: readonly string[] = KEYS[place];
  const wrong = Object.keys(given).find((key) => !known.includes(key));
  if (wrong === undefined) return;
  const near = known
    .map((key) => ({ key, steps: editSteps(wrong.toLowerCase(), key.toLowerCase()) }))
    .sort((one, other) => one.steps - other.steps)[0];
  const likely = near.steps <= Math.max(2, Math.floor(near.key.length / 3));
  const remedy = likely ? `Did you mean "${near.key}"?` : `Known keys: ${known.join(", ")}.`;
  throw new Error(`Unknown key "${wrong}" in ${place}. ${remedy}`);
}

/** The Error for a value that breaks a rule. */
export const wrong = (rule: string, given: unknown) =>
  new Error(`${rule} Given: ${JSON.stringify(given)}.`);

/** Whether a value is an array of so many numbers. */
export function isNumbers(given: unknown, count: number): boolean {
  const all: unknown[] = Array.from((given ?? []) as ArrayLike<unknown>);
  return all.length === count && all.every(Number.isFinite);
}

/** Letters to insert, delete or replace between two words. */
function editSteps(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [y, letter] of [...one].entries()) {
    const next = [y + 1];
    for (const [x, own] of [...other].entries()) {
      next.push(Math.min(next[x] + 1, row[x + 1] + 1, row[x] + Number(letter !== own)));
    }
    row = next;
  }
  return row[other.length];
}
