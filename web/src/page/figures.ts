/** A report's figures as tables: plain ones first, then one section for each group of them. */

import { h } from "./dom";

type Group = Record<string, unknown>;

const isGroup = (value: unknown): value is Group => typeof value === "object" && value !== null;
const WORDS: Record<string, string> = {
  paces: "Time per stage",
  seconds_a_mask: "Seconds per mask",
  masks_an_hour: "Masks per hour",
  seconds_a_track: "Seconds per track",
  pixels: "Share of the image area",
  labels: "Classes",
  agreements: "Agreement between annotators",
  batches: "Batches under review",
};

const named = (name: string) =>
  WORDS[name] ??
  (name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ")).replace(/\biou\b/, "IoU");

export function figures(report: Group): HTMLElement {
  const entries = Object.entries(report);
  const plain = entries.filter(([, value]) => !isGroup(value));
  const groups = entries.filter(
    (entry): entry is [string, Group] => isGroup(entry[1]) && Object.keys(entry[1]).length > 0,
  );
  return h(
    "div",
    { class: "report" },
    pairs(plain),
    ...groups.map(([name, group]) => h("section", {}, h("h3", {}, named(name)), section(group))),
  );
}

function section(group: Group): HTMLElement {
  const values = Object.values(group);
  if (!values.every(isGroup)) return pairs(Object.entries(group));
  const names = Array.isArray(group) ? null : Object.keys(group);
  return columns(values, names);
}

function pairs(entries: [string, unknown][]): HTMLElement {
  return table(
    [],
    entries.map(([name, value]) => ({ name: named(name), cells: [figure(value)] })),
  );
}

/** One line for each group, one column for each of their figures. */
function columns(groups: Group[], names: string[] | null): HTMLElement {
  const heads = [...new Set(groups.flatMap((group) => Object.keys(group)))];
  const rows = groups.map((group, i) => {
    return { name: names?.[i], cells: heads.map((head) => figure(group[head])) };
  });
  const all = table([...(names ? [""] : []), ...heads.map(named)], rows, "figures columns");
  return h("div", { class: "wide" }, all);
}

/** Rows of cells, which may have a name, below the titles of their columns, if any. */
export function table(
  heads: readonly string[],
  rows: readonly { name?: string; cells: readonly string[] }[],
  kind = "figures",
): HTMLElement {
  const head = h("tr", {}, ...heads.map((title) => h("th", { scope: "col" }, title)));
  const lines = rows.map(({ name, cells }) => {
    const own = name !== undefined && h("th", { scope: "row" }, name);
    return h("tr", {}, own, ...cells.map((cell) => h("td", {}, cell)));
  });
  return h("table", { class: kind }, heads.length > 0 && head, ...lines);
}

function figure(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (isGroup(value)) {
    const inner = Object.entries(value).map(([name, one]) => `${named(name)} ${figure(one)}`);
    return inner.join(", ") || "–";
  }
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}
