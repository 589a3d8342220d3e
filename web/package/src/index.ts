/** The JavaScript API of anymask (`index.d.ts`): images and prompts to masks, by two workers. */

import { cocoToRle, rleArea } from "../../src/masks/rle";
import { patchToRle, rleToPatch, type Patch } from "../../src/masks/patch";
import { Model } from "../../src/model/client";
import { checkChannels } from "../../src/model/manifest";
import { refusal, type Prompt as Asked } from "../../src/model/prompts";
import { parseRegionSize, type LeastAreas } from "../../src/model/region_size";
import type { Click } from "../../src/model/negative_clicks";
import type { Previous } from "../../src/model/steps";
import { cutOut } from "./cutout";
import { checkKeys, isNumbers, wrong } from "./keys";
import { PatchMask } from "./mask";
import { imageToBitmap } from "./image";
import type {
  Answer,
  Anymask,
  CutoutOptions,
  EverythingOptions,
  FileOptions,
  Mask,
  NameOptions,
  NameSuggestion,
  ImageSource,
  Progress,
  Prompt,
  RegionSizes,
  Features,
  SegmentOptions,
  load as Load,
} from "../index";

const TYPES = ["image/png", "image/webp", "image/jpeg"]; // of files
const LEFT_OUT =
  "Copy the folders 'model' and 'ort' of the package to the folder of the built script. " +
  "With Vite, the plugin anymask/vite copies them. Or serve an exported model and pass its URL: load({ model }).";

export const load: typeof Load = async (options = {}) => {
  checkKeys(options, "load");
  const beside = new URL("./model/", import.meta.url);
  const folder = options.model ? new URL(options.model, document.baseURI) : beside;
  const model = await Model.open(async (file) => {
    const address = new URL(file, folder.href.endsWith("/") ? folder : `${folder}/`);
    const reply = await fetch(address);
    if (reply.ok) return reply;
    const remedy = options.model ? "Serve an exported model at this URL." : LEFT_OUT;
    throw new Error(`${address} could not be loaded: HTTP status ${reply.status}. ${remedy}`);
  });
  try {
    checkChannels(model.manifest);
  } catch (error) {
    model.close();
    throw error;
  }
  return new OpenModel(model);
};

/** What was asked for an answer, and the logits (m, m) of its masks. */
const answered = new WeakMap<Answer, Asked & { key: string; logits: Float32Array[] }>();

class OpenModel implements Anymask {
  private count = 0;

  constructor(private readonly model: Model) {}

  get name(): string {
    return this.model.manifest.name;
  }

  async encode(image: ImageSource): Promise<Features> {
    const features = new EncodedImage(
      this.model,
      `image ${++this.count}`,
      await imageToBitmap(image),
    );
    await features.encode();
    return features;
  }

  close(): void {
    this.model.close();
  }
}

class EncodedImage implements Features {
  readonly width: number;
  readonly height: number;

  constructor(
    private readonly model: Model,
    private readonly key: string,
    private readonly bitmap: ImageBitmap,
  ) {
    this.width = bitmap.width;
    this.height = bitmap.height;
  }

  /** Encode the image, again if other images replaced it in the cache. */
  async encode(): Promise<void> {
    await this.model.encode(this.key, async () => this.bitmap);
  }

  async segment(prompt: Prompt, options: SegmentOptions = {}): Promise<Answer> {
    checkKeys(prompt, "prompt");
    checkKeys(options, "segment");
    const asked = this.checked(prompt);
    await this.encode();
    const { granularity = "all" } = options;
    if (granularity !== "all" && !(granularity >= 0 && granularity <= 1))
      throw wrong('granularity must be "all" or a number from 0 to 1.', granularity);
    const least = leastAreas(options);
    const edges = this.refinedMasks(options);
    const crop = this.usesCrop(options) && this.model.closes(asked);
    const answer = await (edges || crop
      ? this.model.answerRefined(this.key, asked, { granularity, least }, { edges, crop })
      : this.model.answer(this.key, asked, 0, granularity, least));
    const reply = {
      masks: answer.candidates.map(({ patch, score }) => new PatchMask(patch, score)),
      violated: answer.violated,
    };
    answered.set(reply, { key: this.key, ...asked, logits: answer.logits });
    return reply;
  }

  /** How many of an answer's masks get edges of the image. */
  private refinedMasks({ refineEdges = "auto" }: SegmentOptions): number {
    const { refines, manifest } = this.model;
    if (refineEdges === true && !refines) {
      throw new Error(
        `Model ${manifest.name} has no refiner.onnx and cannot refine edges. ` +
          'Use refineEdges: "auto".',
      );
    }
    if (![true, false, "auto"].includes(refineEdges)) {
      throw wrong('refineEdges must be "auto", true or false.', refineEdges);
    }
    if (!refines || refineEdges === false) return 0;
    return refineEdges === true ? Infinity : 1;
  }

  private usesCrop({ zoom = "auto" }: SegmentOptions): boolean {
    if (zoom === "auto" || zoom === false) return zoom === "auto";
    throw wrong('zoom must be "auto" or false.', zoom);
  }

  async everything(options: EverythingOptions | Progress = {}): Promise<Mask[]> {
    const asked = typeof options === "function" ? { progress: options } : options;
    checkKeys(asked, "everything");
    const { progress = () => {} } = asked;
    if (typeof progress !== "function") throw wrong("progress must be a function.", progress);
    const least = leastAreas(asked);
    await this.encode();
    const { shown } = await this.model.everything(this.key, progress, least);
    return shown.map(({ rle, score }) => new PatchMask(rleToPatch(cocoToRle(rle)), score));
  }

  async subject(): Promise<Mask | null> {
    await this.encode();
    const found = await this.model.subject(this.key);
    return found && new PatchMask(found.patch, found.score);
  }

  async suggestNames(
    mask: Mask | Uint8Array,
    options: NameOptions = {},
  ): Promise<NameSuggestion[]> {
    checkKeys(options, "suggestNames");
    const { names, top = 5 } = options;
    if (!Number.isInteger(top) || top < 1)
      throw wrong("top must be an integer of at least 1.", top);
    if (names !== undefined && !Array.isArray(names))
      throw wrong("names must be an array of class names.", names);
    const rle = patchToRle(this.patchOf(mask));
    const chosen = (await this.model.nameTable()).chosen(names ?? null);
    if (!rleArea(rle)) return [];
    await this.encode();
    const [vector] = await this.model.maskVectors(this.key, [rle]);
    return chosen.suggest(vector, top);
  }

  cutout(mask: Mask, options: CutoutOptions = {}): OffscreenCanvas {
    checkKeys(options, "cutout");
    this.patchOf(mask);
    return cutOut(this.bitmap, mask, options);
  }

  async toBlob(mask: Mask, options: FileOptions = {}): Promise<Blob> {
    checkKeys(options, "toBlob");
    const { type = "image/png", quality, ...cutout } = options;
    if (!TYPES.includes(type)) throw wrong(`type must be one of ${TYPES.join(", ")}.`, type);
    if (quality !== undefined && !(quality >= 0 && quality <= 1))
      throw wrong("quality must be a number from 0 to 1.", quality);
    if (type === "image/jpeg" && !cutout.background) {
      throw new Error("JPEG does not support transparency. Pass a background, or use WebP.");
    }
    return this.cutout(mask, cutout).convertToBlob({ type, quality });
  }

  private patchOf(mask: Mask | Uint8Array): Patch {
    const { width, height } = this;
    const data = mask instanceof Uint8Array ? mask : mask?.toArray?.();
    const fits = mask instanceof Uint8Array || (mask?.width === width && mask.height === height);
    if (data?.length === width * height && fits) {
      const inside = data.map((value) => Number(value !== 0));
      return { hw: [height, width], x: 0, y: 0, width, height, data: inside };
    }
    const size =
      data instanceof Uint8Array ? `an array of length ${data.length}` : JSON.stringify(mask);
    throw new Error(
      `The image has ${width} x ${height} pixels, but the mask is ${size}. ` +
        "Pass a mask that segment() or everything() returned for this image.",
    );
  }

  private checked({ points = [], labels, box, previous, candidate = 0 }: Prompt): Asked {
    if (!Array.isArray(points) || !points.every((point) => isNumbers(point, 2)))
      throw wrong("points must be an array of [x, y], such as [[290, 120]].", points);
    if (box != null && !isNumbers(box, 4)) throw wrong("box must be [x0, y0, x1, y1].", box);
    if (!points.length && !box) {
      throw new Error("The prompt is empty. Pass points: [[x, y]] or box: [x0, y0, x1, y1].");
    }
    const outside = points.find(
      ([x, y]) => !(x >= 0 && y >= 0 && x < this.width && y < this.height),
    );
    if (outside) throw wrong(`Points must lie within ${this.width} x ${this.height}.`, outside);
    if (labels && labels.length !== points.length)
      throw wrong("labels must have one entry per point.", labels);
    const label = Array.from(labels ?? []).find((one) => one !== 0 && one !== 1);
    if (label !== undefined)
      throw wrong("Each label must be 1 (foreground) or 0 (background).", label);
    if (box && !(box[0] < box[2] && box[1] < box[3])) {
      throw wrong("The box must have x0 < x1 and y0 < y1.", box);
    }
    const clicks = points.map(([x, y], i) => ({ x, y, label: labels?.[i] ?? (1 as const) }));
    const asked: Asked = { clicks, box: box ?? null, mask: null };
    const refused = refusal(asked, this.model.manifest.spec);
    if (refused) throw new Error(refused);
    return previous ? { ...asked, previous: this.before(previous, candidate, clicks) } : asked;
  }

  private before(previous: Answer, candidate: number, clicks: readonly Click[]): Previous | null {
    const { name, accepts } = this.model.manifest.spec;
    if (!accepts.includes("mask")) {
      throw new Error(`Model ${name} has no mask input, so the option previous is not supported.`);
    }
    const before = answered.get(previous);
    if (before?.key !== this.key) {
      throw new Error("previous must be a result of segment() for the same image.");
    }
    const { logits, clicks: old, box } = before;
    const same = ({ x, y, label }: Click, i: number) =>
      clicks[i]?.x === x && clicks[i].y === y && clicks[i].label === label;
    if (!old.every(same)) {
      throw new Error(
        `points must start with the points of the previous result (${old.length}). ` +
          "Add new points at the end.",
      );
    }
    const corrected = logits[candidate];
    if (!corrected) {
      throw new Error(
        `Candidate ${candidate} does not exist: the previous result has ${logits.length} masks.`,
      );
    }
    const isAboutObject = box || old.some(({ label }) => label);
    return isAboutObject ? { logits: corrected, clicks: old.length } : null;
  }
}

function leastAreas({ maxHoleArea = "auto", minIslandArea = "auto" }: RegionSizes): LeastAreas {
  return {
    holes: parseRegionSize(maxHoleArea, "maxHoleArea"),
    islands: parseRegionSize(minIslandArea, "minIslandArea"),
  };
}
