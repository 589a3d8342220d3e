/** An export of the browser's own project: which images leave, in which splits and folders. */

import { StoreError, type ExportWish, type ImageEntry } from "../store/store";
import { NAMELESS, cocoFile, labelPngs, labelmeFiles, sa1bFiles, yoloFiles } from "./files";
import type { Part, Placed } from "./files";
import { tableFile } from "./table";
import { zipOf, type Entry } from "./zip";

export const OWN_FORMATS = ["yolo", "coco", "labelme-polygon", "sa1b", "label-png", "csv"];
const NO_CLASSES = ["csv", "label-png", "sa1b"]; // formats with none, or an empty one
const SPLITS = ["train", "val", "test"];
const BARE =
  "\ndata.yaml expects the image files in images/. " +
  "Select 'Include the images' to export these files";
const BESIDE = ["labelme-polygon", "sa1b"]; // their files name an image beside them

export interface Work {
  images: ImageEntry[];
  records: Placed[];
  names: string[]; // of the project, in their order
  pixels: (image: string) => Promise<Blob>;
}

export async function archive(work: Work, wish: ExportWish) {
  const images = leaving(work, wish);
  const ids = new Set(images.map((image) => image.id));
  const every = work.records.filter((one) => one.state === "accepted" && ids.has(one.image));
  const unlabeled = every.filter((one) => one.label === null).length;
  if (wish.unlabeled === "ask" && unlabeled && !NO_CLASSES.includes(wish.format)) {
    const text = unlabeled === 1 ? "1 mask has no class." : `${unlabeled} masks have no class.`;
    throw new StoreError("unlabeled", text);
  }
  const records = every.filter((one) => wish.unlabeled !== "skip" || one.label !== null);
  const used = new Set(records.map((record) => record.label ?? NAMELESS));
  const classes = [...new Set([...work.names, ...[...used].sort()])];
  const splits = splitNames(
    images.map((image) => image.name),
    wish.split,
  );
  const entries: Entry[] = [];
  for (const split of [...new Set(splits.values())]) {
    const few = images.filter((image) => splits.get(image.name) === split);
    const own = records.filter((record) => few.some((image) => image.id === record.image));
    const part = { images: few, records: own, classes, tolerance: wish.tolerance };
    entries.push(...(await annotations(part, wish, split)));
    if (!wish.images) continue;
    for (const image of few) {
      const name = path(imageFolder(wish.format, split), image.name);
      entries.push({ name, blob: await work.pixels(image.id) });
    }
  }
  if (wish.format === "yolo") entries.push(dataYaml([...new Set(splits.values())], classes));
  const bare = wish.format === "yolo" && !wish.images;
  const message = `${images.length} images, ${records.length} masks${bare ? BARE : ""}`;
  if (entries.length === 1) return { ...entries[0], message };
  return { name: `${wish.format}.zip`, blob: await zipOf(entries), message };
}

function leaving({ images, records }: Work, { only }: ExportWish): ImageEntry[] {
  const labeled = new Set(
    records.filter((record) => record.state === "accepted").map((record) => record.image),
  );
  const chosen = images.filter(
    ({ id, status }) => status === "done" || (only === "labeled" && labeled.has(id)),
  );
  if (chosen.length) return chosen;
  const wanted = only === "done" ? "marked as done" : "annotated";
  throw new StoreError(
    "refused",
    `No image to export: none of the ${images.length} images is ${wanted} ` +
      `(${labeled.size} have masks). ` +
      "Mark images as done (D), or select 'All images with masks'.",
  );
}

const path = (...parts: string[]) => parts.filter(Boolean).join("/");

async function annotations(part: Part, { format, images, split }: ExportWish, name: string) {
  const whole = images || split !== null;
  if (format === "coco") {
    const stem = name ? `instances_${name}` : "instances";
    return [cocoFile(part, whole ? `annotations/${stem}.json` : "annotations.json")];
  }
  if (format === "csv") return [tableFile(part, path(name, "masks.csv"))];
  const folder = format === "yolo" ? path("labels", name) : name;
  const files = { "labelme-polygon": labelmeFiles, sa1b: sa1bFiles, yolo: yoloFiles };
  const write = files[format as keyof typeof files] ?? labelPngs;
  return (await write(part)).map((entry) => ({ ...entry, name: path(folder, entry.name) }));
}

function imageFolder(format: string, split: string): string {
  if (format === "yolo" || format === "coco") return path("images", split);
  return BESIDE.includes(format) ? split : path(split, "images");
}

function dataYaml(splits: string[], classes: string[]): Entry {
  const first = SPLITS.find((split) => splits.includes(split));
  const place = (split: string) => path("images", splits.includes(split) ? split : (first ?? ""));
  const wanted = splits.includes("test") ? SPLITS : SPLITS.slice(0, 2);
  const rows = wanted.map((split) => `${split}: ${place(split)}`);
  const names = classes.map((name, i) => `  ${i}: ${JSON.stringify(name)}`);
  return { name: "data.yaml", blob: new Blob([[...rows, "names:", ...names, ""].join("\n")]) };
}

/** train, val or test for each name, by the name alone; no split of three images is empty. */
export function splitNames(names: string[], shares: string | null): Map<string, string> {
  if (shares === null) return new Map(names.map((name) => [name, ""]));
  const numbers = shares.split("/").map(Number);
  const parts = SPLITS.map((name, i) => ({ name, share: numbers[i] ?? 0, held: [] as string[] }));
  const open = parts.filter(({ share }) => share > 0);
  const total = open.reduce((sum, { share }) => sum + share, 0);
  if (!open.length || numbers.some((share) => !(share >= 0))) {
    const text = "The shares of train, val and test are invalid";
    throw new StoreError("refused", `${text}: ${shares}. Use three numbers such as 80/10/10.`);
  }
  for (const name of [...names].sort((a, b) => draw(a) - draw(b))) {
    let reached = 0;
    const part = open.find(({ share }) => draw(name) < (reached += share / total));
    (part ?? open[open.length - 1]).held.push(name);
  }
  for (const part of names.length >= open.length ? open : []) {
    const largest = open.reduce((a, b) => (b.held.length > a.held.length ? b : a));
    if (!part.held.length) part.held.push(largest.held.pop()!);
  }
  return new Map(open.flatMap(({ name, held }) => held.map((one) => [one, name] as const)));
}

/** A number from 0 to 1 that depends on the name alone (FNV-1a, mixed once more). */
function draw(name: string): number {
  let hash = 2166136261;
  for (const letter of name) hash = Math.imul(hash ^ letter.codePointAt(0)!, 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
