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
  const rows = entries.map(([name, value]) =>
    h("tr", {}, h("th", { scope: "row" }, named(name)), h("td", {}, figure(value))),
  );
  return h("table", { class: "figures" }, ...rows);
}

/** One line for each group, one column for each of their figures. */
function columns(groups: Group[], names: string[] | null): HTMLElement {
  const heads = [...new Set(groups.flatMap((group) => Object.keys(group)))];
  const lines = groups.map((group, i) =>
    h(
      "tr",
      {},
      names && h("th", { scope: "row" }, names[i]),
      ...heads.map((head) => h("td", {}, figure(group[head]))),
    ),
  );
  const head = heads.map((name) => h("th", { scope: "col" }, named(name)));
  return h(
    "div",
    { class: "wide" },
    h("table", { class: "figures columns" }, h("tr", {}, names && h("th", {}), ...head), ...lines),
  );
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
