/** The model, as the page sees it: two workers, a cache of features, the newest hover first. */

import type { Patch } from "../masks/patch";
import type { Rle } from "../masks/rle";
import type { Progress } from "./messages";
import { ModelWorker } from "./model_worker";
import { isClear } from "./closer";
import type { Features } from "./features";
import { gridSettings, type Proposals } from "./everything";
import type { Tables } from "./families/family";
import type { Granularity } from "./granularity";
import { NAME_VECTORS, SUBJECT, TABLES, checkChannels, readJson, readManifest } from "./manifest";
import type { Manifest, Part } from "./manifest";
import type { NameTable } from "./name_table";
import { Newest } from "./newest";
import type { Prompt } from "./prompts";
import { USUAL } from "./region_size";
import type { Candidates, Corrected, Fine, Settings } from "./segment";
import type { SubjectProbe } from "./subject";

/**
 * Threads of one call: `?threads=`, else the cores, four at most; one where none are allowed.
 *
 * The decoder leaves a core to the page, which draws meanwhile: on two cores a hover takes half the
 * time with one thread, because ONNX Runtime's threads spin while they wait for each other.
 */
function threadsFor(part: Part): number {
  if (!crossOriginIsolated) return 1;
  const asked = Number(new URLSearchParams(location.search).get("threads"));
  if (asked > 0) return asked;
  const cores = navigator.hardwareConcurrency || 1;
  return Math.max(1, Math.min(4, part === "decoder" ? cores - 1 : cores));
}

/** An answer whose masks can be drawn once more. */
export interface Kept {
  keep: string; // the worker's name for it
  closer: boolean; // whether it is looked at closer
}

/** How a mask of an answer is made fine. */
interface Fineness {
  whole: boolean; // pixel for pixel; else of an image of at most `LONGEST` pixels a side
  edges: boolean;
}

export type Load = (file: string) => Promise<Response>;

/** Where features comes from when the page does not make it itself. */
export type Sent = () => Promise<Features | null>;

/** The server sees an image. */
export type Send = (image: Blob) => Promise<Features>;

/** Made when it is first asked for; after a failure the next one tries again. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => {
    if (made) return made;
    made = make();
    made.catch(() => (made = null));
    return made;
  };
}

const AT_ONCE = 8; // masks that are looked at for names before something else has its turn
const CACHED = 8; // features; nano's have 2.4 MB each

export class Model {
  private readonly decoder = new ModelWorker();
  private encoder: Promise<ModelWorker> | null = null;
  private readonly encoded = new Map<string, Promise<Features>>();
  private readonly images = new Map<string, () => Promise<Blob | ImageBitmap>>();
  private readonly decoderKeys = new Set<string>();
  private readonly openRefiner = once(() => this.openGraph(this.decoder, "refiner"));
  private readonly openNamer = once(() => this.openGraph(this.decoder, "names"));
  private readonly probe = once(() => this.readProbe());
  /** The names that masks can have; they are fetched when they are first asked for. */
  readonly nameTable = once(() => this.readNames());
  private refining: Promise<unknown> = Promise.resolve();
  private pixelsKey = ""; // the image whose pixels the decoder's worker has
  private readonly hovers = new Newest();
  private answers = 0;
  provider = "";

  private constructor(
    private readonly load: Load,
    readonly manifest: Manifest,
    private readonly tables: Tables,
    readonly threads: number, // of the decoder
    private readonly send: Send | undefined,
  ) {}

  /** Open the decoder; the encoder follows when an image needs it, unless `send` has it. */
  static async open(load: Load, send?: Send): Promise<Model> {
    const manifest = readManifest(await readJson(await load("manifest.json")));
    const learned = TABLES in manifest.sha256;
    const tables = learned ? ((await readJson(await load(TABLES))) as Tables) : {};
    const model = new Model(load, manifest, tables, threadsFor("decoder"), send);
    await model.openGraph(model.decoder, "decoder");
    return model;
  }

  private async openGraph(worker: ModelWorker, part: Part): Promise<ModelWorker> {
    const { manifest, tables } = this;
    const graph = await (await this.load(manifest.graphs[part]!.file)).arrayBuffer();
    const threads = threadsFor(part === "encoder" ? part : "decoder"); // the others share a worker
    const ask = { part, graph, manifest, tables, threads };
    const opened = await worker.ask("open", ask, undefined, [graph]);
    this.provider = opened.provider;
    return worker;
  }

  /** See an image; `sent` is asked first, and where it has nothing the page encodes itself. */
  encode(key: string, image: () => Promise<Blob | ImageBitmap>, sent?: Sent): Promise<Features> {
    const known = this.encoded.get(key);
    if (known) return known;
    this.images.set(key, image);
    const made = (async () => {
      const given = await sent?.();
      if (given) return given;
      checkChannels(this.manifest);
      return (await this.opened()).ask("encode", { image: await image() });
    })();
    this.encoded.set(key, made);
    made.catch(() => this.encoded.delete(key));
    for (const old of this.encoded.keys()) {
      if (this.encoded.size <= CACHED) break;
      this.encoded.delete(old);
      this.images.delete(old);
    }
    return made;
  }

  /** An image is another one than it was, on all its pages: nobody has seen it. */
  forget(image: string): void {
    const gone = [...this.encoded.keys()].filter((key) => key.split("#")[0] === image);
    for (const key of gone) {
      this.encoded.delete(key);
      this.images.delete(key);
      this.decoderKeys.delete(key);
    }
    this.pixelsKey = "";
  }

  /** The encoder; where it cannot be opened, the next one who asks tries again. */
  private opened(): Promise<ModelWorker> {
    if (this.encoder) return this.encoder;
    const worker = new ModelWorker();
    this.encoder = this.openGraph(worker, "encoder");
    this.encoder.catch(() => {
      this.encoder = null;
      worker.end();
    });
    return this.encoder;
  }

  /** Make the decoder look at an image that has been seen. */
  private async loadFeatures(key: string): Promise<void> {
    const features = await this.encoded.get(key);
    if (!features) throw new Error("The image is not encoded yet.");
    if (features.modelHash !== this.manifest.weights_hash) {
      throw new Error("The server now uses a different model. Reload the page.");
    }
    if (this.decoderKeys.has(key)) return;
    this.decoderKeys.clear(); // what the worker forgot is told again
    this.decoderKeys.add(key);
    await this.decoder.ask("features", { key, features });
  }

  /** Answer a prompt. With the reply's name `keep`, `cut` gives its masks at full size. */
  async answer(
    key: string,
    prompt: Prompt,
    limit: number,
    granularity: Granularity,
    least = USUAL,
  ): Promise<Corrected & Kept> {
    await this.loadFeatures(key);
    const keep = String(++this.answers);
    const settings = { granularity, least };
    const reply = await this.decoder.ask("answer", { key, prompt, limit, settings, keep });
    return { ...reply, keep, closer: this.closes(prompt) };
  }

  /** Whether a prompt is one that the model answers better with a second, closer look. */
  closes(prompt: Prompt): boolean {
    const { closer, spec } = this.manifest;
    return Boolean(closer) && !spec.channels && isClear(prompt);
  }

  /** The mask of a kept answer, pixel for pixel. */
  async cut(keep: string, index: number): Promise<Patch> {
    return this.decoder.ask("cut", { keep, index });
  }

  /** The server's name for an image that it has seen, or null. */
  async imageHashOf(key: string): Promise<string | null> {
    return (await this.encoded.get(key))?.imageHash ?? null;
  }

  /** Whether masks can be named: the bundle has a network for that. */
  get names(): boolean {
    return this.manifest.graphs.names !== undefined;
  }

  /** Whether edges can be put where the image has them: the bundle has a network for that. */
  get refines(): boolean {
    return this.manifest.graphs.refiner !== undefined;
  }

  private async readNames(): Promise<NameTable> {
    if (!this.names) {
      throw new Error(
        `Model ${this.manifest.name} has no names.onnx and cannot suggest classes. Use nano.`,
      );
    }
    const reply = await this.load(NAME_VECTORS);
    const { readTable } = await import("./name_table");
    return readTable(await reply.arrayBuffer());
  }

  /** What the network of names sees in masks of an image: a vector of each. */
  async maskVectors(key: string, masks: readonly Rle[], signal?: AbortSignal) {
    const found: Float32Array[] = [];
    await this.openNamer();
    for (let at = 0; at < masks.length; at += AT_ONCE) {
      const part = masks.slice(at, at + AT_ONCE);
      const ask = async () => {
        signal?.throwIfAborted();
        await this.ready(key, false);
        return this.decoder.ask("vectors", { key, masks: part });
      };
      found.push(...(await this.inTurn(ask)));
    }
    return found;
  }

  /**
   * A mask of an answer as it is kept: after a closer look, its edge where the image has it; one
   * after the other. Null where it is not wanted `still` before it is done.
   */
  refine(
    key: string,
    kept: Kept,
    index: number,
    whole: boolean,
    still: () => boolean = () => true,
  ): Promise<Fine | null> {
    const fineness = { whole, edges: this.refines };
    return this.inTurn(() => this.refined(key, kept, index, fineness, still));
  }

  /** Answer a prompt, pixel for pixel, the first so many masks with edges of the image. */
  answerRefined(
    key: string,
    prompt: Prompt,
    { granularity, least }: Settings,
    { edges, crop: closer }: { edges: number; crop: boolean },
  ): Promise<Corrected> {
    return this.inTurn(async () => {
      await this.ready(key, edges > 0);
      const { keep, ...answer } = await this.answer(key, prompt, 0, granularity, least);
      const most = Math.max(edges, closer ? 1 : 0);
      for (const [index, one] of answer.candidates.slice(0, most).entries()) {
        const fineness = { whole: true, edges: index < edges };
        const fine = (await this.refined(key, { keep, closer }, index, fineness))!;
        Object.assign(one, { patch: fine.patch, score: fine.score });
        answer.violated = fine.violated;
      }
      return answer;
    });
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.refining.then(work);
    this.refining = done.catch(() => null);
    return done;
  }

  private async refined(
    key: string,
    { keep, closer }: Kept,
    index: number,
    { whole, edges }: Fineness,
    still: () => boolean = () => true,
  ): Promise<Fine | null> {
    if (!still()) return null;
    await this.ready(key, edges);
    const near = closer && still() ? await this.near(keep, still) : null;
    if (!still()) return null;
    return this.decoder.ask("refine", { keep, index, whole, edges, near });
  }

  /** Let the decoder have the image's pixels and, for edges, their network. */
  private async ready(key: string, edges: boolean): Promise<void> {
    if (edges) await this.openRefiner();
    await this.loadFeatures(key);
    if (this.pixelsKey === key) return;
    await this.decoder.ask("pixels", { key, image: await this.images.get(key)!() });
    this.pixelsKey = key;
  }

  /** What the encoder sees around a kept answer; null where a closer look shows no more. */
  private async near(keep: string, still: () => boolean): Promise<Features | null> {
    const image = await this.decoder.ask("closer", { keep });
    if (!image) return null;
    if (this.send && this.manifest.sent) {
      const canvas = new OffscreenCanvas(image.width, image.height);
      const data = image.data as Uint8ClampedArray<ArrayBuffer>;
      canvas.getContext("2d")!.putImageData(new ImageData(data, image.width), 0, 0);
      return still() ? this.send(await canvas.convertToBlob()) : null;
    }
    const encoder = await this.opened();
    return still() ? encoder.ask("encode", { image }, undefined, [image.data.buffer]) : null;
  }

  /** The preview under the pointer, or null where a newer place was hovered meanwhile. */
  async hover(
    key: string,
    prompt: () => Prompt, // made when its turn comes, which most never have
    limit: number,
    granularity: Granularity,
  ): Promise<Candidates | null> {
    return this.hovers.run(async () => {
      await this.loadFeatures(key);
      const settings = { granularity, least: USUAL };
      const ask = { key, prompt: prompt(), limit, settings, keep: "" };
      return this.decoder.ask("answer", ask);
    });
  }

  /** End the workers; what they have not answered yet fails. */
  close(): void {
    this.decoder.end();
    void this.encoder?.then((encoder) => encoder.end());
  }

  /** The mask and the score of the main subject, without a prompt; null if no subject is clear. */
  async subject(key: string): Promise<{ patch: Patch; score: number } | null> {
    const probe = await this.probe();
    await this.loadFeatures(key);
    return this.decoder.ask("subject", { key, probe });
  }

  private async readProbe(): Promise<SubjectProbe> {
    const { name, sha256, weights_hash } = this.manifest;
    const probe = SUBJECT in sha256 && ((await readJson(await this.load(SUBJECT))) as SubjectProbe);
    if (probe && probe.weights_hash === weights_hash) return probe;
    throw new Error(
      `Model ${name} has no subject.json that fits its weights and cannot detect the main ` +
        "subject. Use nano, or pass a prompt to segment().",
    );
  }

  everything(key: string, progress: Progress, least = USUAL): Promise<Proposals> {
    const settings = gridSettings(this.manifest, least);
    return this.loadFeatures(key).then(() =>
      this.decoder.ask("everything", { key, settings }, progress),
    );
  }
}
