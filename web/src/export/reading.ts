/** Annotations of COCO and YOLO files, or of a ZIP with them: what the browser imports. */

import { fillRings, type Ring } from "../masks/outline";
import { patchToRle } from "../masks/patch";
import { cocoToRle, type CocoRle, type Rle } from "../masks/rle";
import { readZip } from "../model/unzip";
import { NAMELESS } from "./files";

/** A mask of a file; the size of its image may be unknown until the image is found. */
interface ReadMask {
  image: string; // file name, or its stem
  label: string | null;
  shape: (hw: [number, number]) => Rle;
}

interface ReadFiles {
  masks: ReadMask[];
  annotated: File[];
}

export const IMAGE_NAME = /\.(?:jpe?g|png|webp|bmp|gif|avif)$/i;

/** Read a ZIP or a JSON file. Throws an Error for a file without annotations. */
export async function readAnnotations(file: File): Promise<ReadFiles> {
  const files = await filesOf(file);
  const text = (content: ArrayBuffer) => new TextDecoder().decode(content);
  const masks: ReadMask[] = [];
  const classes = classNames([...files].find(([name]) => /(^|\/)data\.ya?ml$/.test(name))?.[1]);
  for (const [name, content] of files) {
    if (name.endsWith(".json")) masks.push(...cocoMasks(text(content)));
    if (/(^|\/)labels\/.*\.txt$/.test(name)) masks.push(...yoloMasks(name, text(content), classes));
  }
  if (!masks.length) {
    throw new Error(
      `${file.name} holds no COCO or YOLO annotations. Import a ZIP or JSON file in ` +
        `one of these formats.`,
    );
  }
  const annotated = [...files]
    .filter(([name]) => IMAGE_NAME.test(name))
    .map(([name, content]) => new File([content], base(name)));
  return { masks, annotated };
}

async function filesOf(file: File): Promise<Map<string, ArrayBuffer>> {
  const bytes = await file.arrayBuffer();
  if (!/\.zip$/i.test(file.name)) return new Map([[file.name, bytes]]);
  return readZip(bytes).catch((error: Error) => {
    throw new Error(`${file.name} is not a valid ZIP file: ${error.message}.`);
  });
}

export const base = (path: string) => path.split("/").at(-1)!;

interface Coco {
  images?: { id: number; file_name: string }[];
  categories?: { id: number; name: string }[];
  annotations?: { image_id: number; category_id?: number; segmentation?: CocoRle | number[][] }[];
}

function cocoMasks(text: string): ReadMask[] {
  let file: Coco;
  try {
    file = JSON.parse(text) as Coco;
  } catch {
    return [];
  }
  if (!Array.isArray(file.images) || !Array.isArray(file.annotations)) return [];
  const names = new Map(file.images.map(({ id, file_name }) => [id, file_name]));
  const classes = new Map((file.categories ?? []).map(({ id, name }) => [id, name]));
  return file.annotations.flatMap(({ image_id, category_id, segmentation }) => {
    const image = names.get(image_id);
    if (image === undefined || !segmentation) return [];
    const label = classOf(classes.get(category_id ?? -1));
    if (!Array.isArray(segmentation))
      return [{ image, label, shape: () => cocoToRle(segmentation) }];
    const rings = segmentation.map(pairs);
    return [{ image, label, shape: (hw) => patchToRle(fillRings(rings, hw)) }];
  });
}

/** One mask a line: a class and the corners of a polygon, or a box, in shares of the sides. */
function yoloMasks(name: string, text: string, classes: readonly string[]): ReadMask[] {
  const image = base(name).replace(/\.txt$/, "");
  return text.split("\n").flatMap((line) => {
    const [place, ...numbers] = line.trim().split(/\s+/).map(Number);
    if (!numbers.length || ![place, ...numbers].every(Number.isFinite)) return [];
    const ring = numbers.length === 4 ? corners(numbers) : pairs(numbers);
    const shape = ([height, width]: [number, number]) =>
      patchToRle(fillRings([ring.map(([x, y]) => [x * width, y * height])], [height, width]));
    return [{ image, label: classOf(classes[place]), shape }];
  });
}

const classOf = (name: string | undefined) => (name === NAMELESS ? null : (name ?? null));

function pairs(numbers: readonly number[]): Ring {
  return Array.from({ length: Math.floor(numbers.length / 2) }, (_, i) => {
    return [numbers[2 * i], numbers[2 * i + 1]];
  });
}

function corners([x, y, width, height]: readonly number[]): Ring {
  const [left, top, right, low] = [x - width / 2, y - height / 2, x + width / 2, y + height / 2];
  return [
    [left, top],
    [right, top],
    [right, low],
    [left, low],
  ];
}

/** The classes of data.yaml: a mapping of numbers, a list of lines, or a list in brackets. */
function classNames(content: ArrayBuffer | undefined): string[] {
  if (!content) return [];
  const names = new TextDecoder().decode(content).split(/^names:/m)[1] ?? "";
  const inline = /^\s*\[(.*?)\]/s.exec(names)?.[1];
  const words = inline !== undefined ? inline.split(",") : names.split("\n").slice(1);
  const found: string[] = [];
  for (const word of words) {
    const [, number, text] = /^\s*(?:(\d+)\s*:|-)?\s*(.+?)\s*$/.exec(word) ?? [];
    if (text === undefined || (inline === undefined && !/^\s/.test(word) && !word.startsWith("-")))
      break;
    found[number === undefined ? found.length : Number(number)] = unquoted(text);
  }
  return found;
}

function unquoted(text: string): string {
  if (!/^".*"$/.test(text)) return text.replace(/^'(.*)'$/, "$1");
  try {
    return JSON.parse(text) as string;
  } catch {
    return text.slice(1, -1);
  }
}
