/** The work as files: COCO with run lengths, YOLO, labelme, SA-1B records, label images. */

import { simplified, tracePatch, withoutStairs, type Ring } from "../masks/outline";
import { rleToPatch } from "../masks/patch";
import { cocoToRle, rleRuns } from "../masks/rle";
import type { ImageEntry, SavedRecord } from "../store/store";
import { grayPng } from "./png";
import type { Entry } from "./zip";

export type Placed = SavedRecord & { image: string };

/** Images of one split with their masks, and the class names in the order of their numbers. */
export interface Part {
  images: ImageEntry[];
  records: Placed[];
  classes: string[];
  tolerance: number;
}

export const NAMELESS = "object"; // the class of a mask without a name

const json = (value: unknown) => new Blob([JSON.stringify(value)], { type: "application/json" });

/** Names without their ends, each once. */
function stems(images: ImageEntry[]): Map<string, string> {
  const taken = new Set<string>();
  return new Map(
    images.map((image) => {
      const stem = image.name.replace(/\.[^.]*$/, "");
      let name = stem;
      for (let i = 2; taken.has(name); i++) name = `${stem}-${i}`;
      taken.add(name);
      return [image.id, name];
    }),
  );
}

export function cocoFile({ images, records, classes }: Part, name: string): Entry {
  const numbers = new Map(images.map((image, i) => [image.id, i + 1]));
  const annotations = records.map((record, i) => ({
    id: i + 1,
    image_id: numbers.get(record.image),
    category_id: classes.indexOf(record.label ?? NAMELESS) + 1,
    segmentation: record.rle,
    area: record.area,
    bbox: record.box,
    iscrowd: 0,
    ...(record.score === null ? {} : { score: record.score }),
  }));
  const file = {
    images: images.map(({ id, name, width, height }) => ({
      id: numbers.get(id),
      file_name: name,
      width,
      height,
    })),
    annotations,
    categories: classes.map((name, i) => ({ id: i + 1, name })),
  };
  return { name, blob: json(file) };
}

/** An entry for each image, of what is made of its masks. */
const eachImage = (
  { images, records }: Part,
  ending: string,
  make: (image: ImageEntry, own: Placed[], place: number) => Blob,
): Entry[] => {
  const names = stems(images);
  return images.map((image, place) => {
    const own = records.filter((record) => record.image === image.id);
    return { name: `${names.get(image.id)}${ending}`, blob: make(image, own, place) };
  });
};

/** A text file an image: class and corners of one ring a line, 0 to 1 of the image's sides. */
export function yoloFiles(part: Part): Entry[] {
  return eachImage(part, ".txt", ({ width, height }, own) => {
    const lines = own.map((record) => {
      const ring = joined(outlines(record, part.tolerance));
      const numbers = ring.flatMap(([x, y]) => [x / width, y / height]);
      const place = part.classes.indexOf(record.label ?? NAMELESS);
      return `${[place, ...numbers.map((value) => Number(value.toFixed(7)))].join(" ")}\n`;
    });
    return new Blob(lines);
  });
}

/** One JSON an image; parts of a mask, and its holes, are one polygon. */
export function labelmeFiles(part: Part): Entry[] {
  return eachImage(part, ".json", (image, own) => {
    const shapes = own.map((record, group) => ({
      label: record.label ?? NAMELESS,
      points: joined(outlines(record, part.tolerance)),
      group_id: group + 1,
      shape_type: "polygon",
      flags: {},
    }));
    return json({
      version: "5.5.0",
      flags: {},
      shapes,
      imagePath: image.name.split("/").at(-1),
      imageData: null,
      imageHeight: image.height,
      imageWidth: image.width,
    });
  });
}

const outlines = (record: Placed, tolerance: number): Ring[] =>
  tracePatch(rleToPatch(cocoToRle(record.rle))).map((ring) =>
    tolerance ? simplified(withoutStairs(ring), tolerance) : ring,
  );

/** Rings as one: there and back again along the shortest line between two corners. */
export function joined(rings: readonly Ring[]): Ring {
  let whole = [...(rings[0] ?? [])];
  for (const ring of rings.slice(1)) {
    let [from, to, least] = [0, 0, Infinity];
    whole.forEach(([x, y], i) =>
      ring.forEach(([u, v], j) => {
        const off = (x - u) ** 2 + (y - v) ** 2;
        if (off < least) [from, to, least] = [i, j, off];
      }),
    );
    const around = [...ring.slice(to), ...ring.slice(0, to + 1)];
    whole = [...whole.slice(0, from + 1), ...around, ...whole.slice(from)];
  }
  return whole;
}

export function sa1bFiles(part: Part): Entry[] {
  return eachImage(part, ".json", (image, own, place) => {
    const { width, height, name } = image;
    return json({
      image: { image_id: place + 1, width, height, file_name: name },
      annotations: own.map((record, n) => sa1bRecord(record, image, n + 1)),
    });
  });
}

function sa1bRecord(record: Placed, image: ImageEntry, id: number) {
  const [x, y, width, height] = record.box;
  const { provenance, score, label } = record;
  const labels = provenance.labels as number[] | undefined;
  const stability = provenance.stability as number | undefined; // of what everything found
  const points = ((provenance.points ?? []) as number[][]).filter((_, i) => labels?.[i] !== 0);
  return {
    id,
    segmentation: record.rle,
    area: record.area,
    bbox: [x, y, Math.max(0, width - 1), Math.max(0, height - 1)], // last minus first pixel
    point_coords: points,
    crop_box: [0, 0, image.width, image.height],
    ...(score === null ? {} : { predicted_iou: score }),
    ...(score === null || stability == null ? {} : { stability_score: stability }),
    ...(label === null ? {} : { label }),
  };
}

/** 16-bit images: pixel 0 is background, n the nth mask; smaller masks lie over larger ones. */
export async function labelPngs({ images, records }: Part): Promise<Entry[]> {
  const names = stems(images);
  const entries: Entry[] = [];
  for (const image of images) {
    const own = records.filter((record) => record.image === image.id);
    const values = new Uint16Array(image.width * image.height);
    const order = own.map((_, i) => i).sort((a, b) => own[b].area - own[a].area);
    for (const i of order) paint(values, own[i], image, i + 1);
    const blob = await grayPng(values, image.height, image.width);
    entries.push({ name: `${names.get(image.id)}.png`, blob });
  }
  return entries;
}

function paint(values: Uint16Array, record: Placed, image: ImageEntry, value: number): void {
  const { starts, ends } = rleRuns(cocoToRle(record.rle));
  starts.forEach((start, i) => {
    for (let at = start; at < ends[i]; at++) {
      const x = Math.floor(at / image.height);
      values[(at - x * image.height) * image.width + x] = value;
    }
  });
}
