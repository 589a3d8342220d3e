/** The work as files: COCO with run lengths, SA-1B records, label pictures. */

import { cocoToRle, rleRuns } from "../masks/rle";
import type { ImageEntry, SavedRecord } from "../store/store";
import { greyPng } from "./png";
import { zipOf } from "./zip";
import type { Entry } from "./zip";

type Placed = SavedRecord & { image: string };
type File = Promise<{ name: string; blob: Blob }>;

const json = (value: unknown) => new Blob([JSON.stringify(value)], { type: "application/json" });

/** One file as it is, several in an archive. */
async function together(entries: Entry[], archive: string): File {
  return entries.length === 1 ? entries[0] : { name: archive, blob: await zipOf(entries) };
}

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

export async function cocoFile(images: ImageEntry[], records: Placed[]): File {
  const labels = [...new Set(records.map((record) => record.label ?? "object"))].sort();
  const numbers = new Map(images.map((image, i) => [image.id, i + 1]));
  const annotations = records.map((record, i) => ({
    id: i + 1,
    image_id: numbers.get(record.image),
    category_id: labels.indexOf(record.label ?? "object") + 1,
    segmentation: record.rle,
    area: record.area,
    bbox: record.box,
    iscrowd: 0,
  }));
  const file = {
    images: images.map(({ id, name, width, height }) => ({
      id: numbers.get(id),
      file_name: name,
      width,
      height,
    })),
    annotations,
    categories: labels.map((name, i) => ({ id: i + 1, name })),
  };
  return { name: "annotations.json", blob: json(file) };
}

export async function sa1bFile(images: ImageEntry[], records: Placed[]): File {
  const names = stems(images);
  const entries = images.map((image, i) => ({
    name: `${names.get(image.id)}.json`,
    blob: json({
      image: {
        image_id: i + 1,
        width: image.width,
        height: image.height,
        file_name: image.name,
      },
      annotations: records
        .filter((record) => record.image === image.id)
        .map((record, n) => sa1bRecord(record, image, n + 1)),
    }),
  }));
  return together(entries, "sa1b.zip");
}

function sa1bRecord(record: Placed, image: ImageEntry, id: number) {
  const [x, y, width, height] = record.box;
  const prompts = (record.provenance.points ?? []) as number[][];
  return {
    id,
    segmentation: record.rle,
    area: record.area,
    bbox: [x, y, Math.max(0, width - 1), Math.max(0, height - 1)], // last minus first pixel
    predicted_iou: record.quality ?? 0,
    point_coords: prompts,
    stability_score: (record.provenance.stability as number | undefined) ?? 0,
    crop_box: [0, 0, image.width, image.height],
    ...(record.label === null ? {} : { label: record.label }),
  };
}

/** 16-bit pictures: pixel 0 is background, n the nth mask; smaller masks lie over larger ones. */
export async function labelPngs(images: ImageEntry[], records: Placed[]): File {
  const names = stems(images);
  const entries: Entry[] = [];
  for (const image of images) {
    const own = records.filter((record) => record.image === image.id);
    const values = new Uint16Array(image.width * image.height);
    const order = own.map((_, i) => i).sort((a, b) => own[b].area - own[a].area);
    for (const i of order) paint(values, own[i], image, i + 1);
    const blob = await greyPng(values, image.height, image.width);
    entries.push({ name: `${names.get(image.id)}.png`, blob });
  }
  return together(entries, "labels.zip");
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
