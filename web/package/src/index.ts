/** Photos and prompts in, masks out, in the page that imports it; the model runs in two workers. */

import { cocoToRle, rleArea } from "../../src/masks/rle";
import { patchToRle, rleToPatch } from "../../src/masks/patch";
import type { Patch } from "../../src/masks/patch";
import { Model } from "../../src/model/client";
import { checkSeesPhotos } from "../../src/model/manifest";
import { refusal } from "../../src/model/prompts";
import { parseRegionSize } from "../../src/model/region_size";
import type { LeastAreas } from "../../src/model/region_size";
import type { Prompt as Asked } from "../../src/model/prompts";
import { cutOut } from "./cutout";
import { checkKeys } from "./keys";
import { PatchMask } from "./mask";
import { photoToBitmap } from "./photo";
import type {
  Answer,
  Anymask,
  CutoutOptions,
  EverythingOptions,
  FileOptions,
  LoadOptions,
  Mask,
  NameOptions,
  NameSuggestion,
  Photo,
  Progress,
  Prompt,
  RegionSizes,
  Seen,
  SegmentOptions,
} from "./types";

export type * from "./types";

const LEFT_OUT =
  "put the package's folders model and ort beside the built script (Vite: the plugin anymask/vite), " +
  "or serve an exported model elsewhere and name it: load({ model })";

/** Open a model. Throws an Error that says what was wanted, where its files are not there. */
export async function load(options: LoadOptions = {}): Promise<Anymask> {
  checkKeys(options, "load");
  const beside = new URL("./model/", import.meta.url);
  const folder = options.model ? new URL(options.model, document.baseURI) : beside;
  const model = await Model.open(async (file) => {
    const address = new URL(file, folder.href.endsWith("/") ? folder : `${folder}/`);
    const reply = await fetch(address);
    if (reply.ok) return reply;
    const remedy = options.model ? "serve an exported model there" : LEFT_OUT;
    throw new Error(`wanted ${address}, got ${reply.status}; ${remedy}`);
  });
  try {
    checkSeesPhotos(model.manifest);
  } catch (error) {
    model.close();
    throw error;
  }
  return new OpenModel(model);
}

class OpenModel implements Anymask {
  private count = 0;

  constructor(private readonly model: Model) {}

  get name(): string {
    return this.model.manifest.name;
  }

  async see(photo: Photo): Promise<Seen> {
    const seen = new SeenPhoto(this.model, `photo ${++this.count}`, await photoToBitmap(photo));
    await seen.look();
    return seen;
  }

  close(): void {
    this.model.close();
  }
}

class SeenPhoto implements Seen {
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

  /** See it, again where other photos took its place meanwhile. */
  async look(): Promise<void> {
    await this.model.embed(this.key, async () => this.bitmap);
  }

  async segment(prompt: Prompt, options: SegmentOptions = {}): Promise<Answer> {
    checkKeys(prompt, "prompt");
    checkKeys(options, "segment");
    const asked = this.checked(prompt);
    await this.look();
    const { granularity = "all" } = options;
    const least = leastAreas(options);
    const edges = this.refinedMasks(options);
    const closer = this.looksCloser(options) && this.model.closes(asked);
    const answer = await (edges || closer
      ? this.model.answerRefined(this.key, asked, { granularity, least }, { edges, closer })
      : this.model.answer(this.key, asked, 0, granularity, least));
    return {
      masks: answer.candidates.map(({ patch, score }) => new PatchMask(patch, score)),
      violated: answer.violated,
    };
  }

  /** How many of an answer's masks get edges of the photo. */
  private refinedMasks({ refineEdges = "auto" }: SegmentOptions): number {
    const { refines, manifest } = this.model;
    if (refineEdges === true && !refines) {
      throw new Error(
        `wanted a model with a network of edges, got ${manifest.name} without refiner.onnx; ` +
          'leave refineEdges at "auto"',
      );
    }
    if (![true, false, "auto"].includes(refineEdges)) {
      throw new Error(
        `wanted refineEdges of "auto", true or false, got ${JSON.stringify(refineEdges)}`,
      );
    }
    if (!refines || refineEdges === false) return 0;
    return refineEdges === true ? Infinity : 1;
  }

  private looksCloser({ zoom = "auto" }: SegmentOptions): boolean {
    if (zoom === "auto" || zoom === false) return zoom === "auto";
    throw new Error(`wanted zoom of "auto" or false, got ${JSON.stringify(zoom)}`);
  }

  async everything(options: EverythingOptions | Progress = {}): Promise<Mask[]> {
    const asked = typeof options === "function" ? { progress: options } : options;
    checkKeys(asked, "everything");
    const { progress = () => {} } = asked;
    if (typeof progress !== "function") {
      throw new Error(`wanted progress as a function, got ${JSON.stringify(progress)}`);
    }
    const least = leastAreas(asked);
    await this.look();
    const { shown } = await this.model.everything(this.key, progress, least);
    return shown.map(({ rle, score }) => new PatchMask(rleToPatch(cocoToRle(rle)), score));
  }

  async suggestNames(
    mask: Mask | Uint8Array,
    options: NameOptions = {},
  ): Promise<NameSuggestion[]> {
    checkKeys(options, "suggestNames");
    const { names, top = 5 } = options;
    if (!Number.isInteger(top) || top < 1) {
      throw new Error(`wanted top as a whole number from 1 on, got ${JSON.stringify(top)}`);
    }
    if (names !== undefined && !Array.isArray(names)) {
      throw new Error(`wanted names as a list of words, got ${JSON.stringify(names)}`);
    }
    const rle = patchToRle(this.patchOf(mask));
    const chosen = (await this.model.nameTable()).chosen(names ?? null);
    if (!rleArea(rle)) return [];
    await this.look();
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
    const { type = "image/png", quality, ...look } = options;
    if (type === "image/jpeg" && !look.background) {
      throw new Error("wanted a background, as JPEG has no transparency; give one, or use WebP");
    }
    return this.cutout(mask, look).convertToBlob({ type, quality });
  }

  private patchOf(mask: Mask | Uint8Array): Patch {
    const { width, height } = this;
    const data = mask instanceof Uint8Array ? mask : mask?.toArray?.();
    const fits = mask instanceof Uint8Array || (mask?.width === width && mask.height === height);
    if (data?.length === width * height && fits) {
      const inside = data.map((value) => Number(value !== 0));
      return { hw: [height, width], x: 0, y: 0, width, height, data: inside };
    }
    const size = data instanceof Uint8Array ? `one of ${data.length}` : JSON.stringify(mask);
    throw new Error(
      `wanted a mask of this photo, ${width} x ${height} pixels, got ${size}; ` +
        "give one that its answers have",
    );
  }

  private checked({ points = [], labels, box }: Prompt): Asked {
    const wrong = (wanted: string, got: unknown) =>
      new Error(`wanted ${wanted}, got ${JSON.stringify(got)}`);
    if (!points.length && !box) throw wrong("points: [[x, y]] or box: [x0, y0, x1, y1]", "neither");
    const outside = points.find(
      ([x, y]) => !(x >= 0 && y >= 0 && x < this.width && y < this.height),
    );
    if (outside) throw wrong(`points within ${this.width} x ${this.height}`, outside);
    if (labels && labels.length !== points.length) throw wrong("a label for each point", labels);
    const label = labels?.find((one) => one !== 0 && one !== 1);
    if (label !== undefined) throw wrong("labels of 1 (on the object) or 0 (off it)", label);
    if (box && !(box[0] < box[2] && box[1] < box[3] && box.every(Number.isFinite))) {
      throw wrong("a box with x0 < x1 and y0 < y1", box);
    }
    const clicks = points.map(([x, y], i) => ({ x, y, label: labels?.[i] ?? (1 as const) }));
    const asked: Asked = { clicks, box: box ?? null, mask: null };
    const refused = refusal(asked, this.model.manifest.spec);
    if (refused) throw new Error(refused);
    return asked;
  }
}

function leastAreas({ maxHoleArea = "auto", minIslandArea = "auto" }: RegionSizes): LeastAreas {
  return {
    holes: parseRegionSize(maxHoleArea, "maxHoleArea"),
    islands: parseRegionSize(minIslandArea, "minIslandArea"),
  };
}
