/**
 * A worker of the page: it encodes, or it decodes. Two of them run, so that a prefetched photo
 * never keeps a click waiting.
 */

import type { InferenceSession } from "onnxruntime-web/wasm";

import type { Patch } from "../masks/patch";
import { LONGEST, enlarged, refined } from "./edges";
import type { Embedding } from "./embedding";
import { BATCH, gridPrompts, passing, toProposals, withoutDuplicates } from "./everything";
import type { Found } from "./everything";
import { openFamily } from "./families";
import type { Answer, Family } from "./families/family";
import { reduced } from "./geometry";
import type { Geometry } from "./geometry";
import { decode, encode, openGraph, refineEdge } from "./graph";
import { cutLogits } from "./logits";
import type { Manifest } from "./manifest";
import type { Asks, Kind, Message, Reply } from "./messages";
import { tokensOf } from "./prompts";
import type { Prompt, Tokens } from "./prompts";
import { imageToModel, smallerPhoto } from "./resample";
import type { Pixels } from "./resample";
import { answersTo, shown } from "./segment";

const SEEN = 4; // embeddings kept
const KEPT = 4; // answers whose logits are kept for cutting at the photo's own size

/** An answer whose masks can be drawn once more. */
interface Kept {
  key: string;
  prompt: Prompt;
  answers: Answer[];
  fine: Map<number, Patch | null>; // by the answer's place: with edges of the photo, once made
}

let session: InferenceSession;
let refiner: InferenceSession;
let manifest: Manifest;
let family: Family;
const seen = new Map<string, Embedding>();
const kept = new Map<string, Kept>();
let picture: (Pixels & { key: string }) | null = null; // in whose pixels edges are looked for
let turn: Promise<unknown> = Promise.resolve();

/** One at a time: a session must not run twice at once. */
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const next = turn.then(work, work);
  turn = next.catch(() => null);
  return next;
}

function remember<T>(store: Map<string, T>, key: string, value: T, most: number): void {
  store.delete(key);
  store.set(key, value);
  for (const old of store.keys()) if (store.size > most) store.delete(old);
}

type Handler<K extends Kind> = (
  ask: Asks[K]["ask"],
  progress: (done: number, all: number) => void,
) => Promise<Asks[K]["reply"]>;

const handlers: { [K in Kind]: Handler<K> } = {
  async open(ask) {
    manifest = ask.manifest;
    family = openFamily(manifest.spec, ask.tables);
    const opened = await inTurn(() => openGraph(ask.graph, ask.threads));
    if (ask.part === "refiner") refiner = opened.session;
    else session = opened.session;
    return { provider: opened.provider };
  },

  async encode({ photo }) {
    const bitmap = await upright(photo);
    const { width, height } = bitmap;
    const read = async (top: number, rows: number) => readRows(bitmap, top, rows);
    const { pixels, size, geometry } = await imageToModel([height, width], manifest.spec, read);
    bitmap.close();
    const maps = await inTurn(() => encode(session, manifest, pixels, size));
    return { geometry, model: manifest.name, modelHash: manifest.weights_hash, maps };
  },

  async see({ key, embedding }) {
    remember(seen, key, embedding, SEEN);
    return null;
  },

  async answer({ key, prompt, limit, granularity, keep }) {
    const embedding = known(key);
    const { spec } = manifest;
    const { geometry } = embedding;
    const asked = {
      family,
      decode: async (tokens: Tokens) => (await decode(session, manifest, embedding, [tokens]))[0],
      geometry,
      spec,
    };
    const answers = await inTurn(() => answersTo(prompt, asked, granularity));
    if (keep) remember(kept, keep, { key, prompt, answers, fine: new Map() }, KEPT);
    const first = keep ? answers : answers.slice(0, 1);
    return shown(first, prompt, geometry, spec.mask_threshold, limit);
  },

  async cut({ keep, index }) {
    const { key, answers } = keptAs(keep);
    return cutWhole(key, answers[index]);
  },

  async picture({ key, photo }) {
    const bitmap = await upright(photo);
    const { imageHw } = reduced(known(key).geometry, LONGEST);
    const read = async (top: number, rows: number) => readRows(bitmap, top, rows);
    const pixels = await smallerPhoto([bitmap.height, bitmap.width], imageHw, read);
    picture = { ...pixels, key };
    bitmap.close();
    return null;
  },

  async refine({ keep, index, whole }) {
    const one = keptAs(keep);
    const { geometry } = known(one.key);
    if (!one.fine.has(index)) one.fine.set(index, await inTurn(() => refine(one, index, geometry)));
    const patch = one.fine.get(index);
    if (!patch) return cutWhole(one.key, one.answers[index]);
    return whole ? enlarged(patch, geometry.imageHw) : patch;
  },

  async everything({ key, settings }, progress) {
    const embedding = known(key);
    const { spec } = manifest;
    const prompts = gridPrompts(settings.pointsPerSide, embedding.geometry.imageHw);
    let found: Found[] = [];
    for (let at = 0; at < prompts.length; at += BATCH) {
      const batch = prompts.slice(at, at + BATCH);
      const tokens = batch.map((prompt) => tokensOf(prompt, embedding.geometry, spec));
      const out = await inTurn(() => decode(session, manifest, embedding, tokens));
      found = found.concat(
        batch.flatMap((prompt, n) =>
          passing(prompt, family.candidates(out[n]), spec.mask_threshold, settings),
        ),
      );
      progress(at + batch.length, prompts.length);
      await new Promise((resume) => setTimeout(resume)); // clicks that came meanwhile go first
    }
    const once = withoutDuplicates(found, settings.overlap);
    return toProposals(once, embedding.geometry, spec.mask_threshold, settings.quality);
  },
};

/** The mask of an answer with its edge where the photo has it, of the size `edges` looks at. */
function refine({ key, prompt, answers }: Kept, index: number, geometry: Geometry) {
  if (picture?.key !== key) throw new Error("this photo's pixels are not here; ask again");
  const threshold = manifest.spec.mask_threshold;
  const drawn = { logits: answers[index].logits, threshold, prompt, geometry };
  return refined(drawn, picture, (asked) => refineEdge(refiner, manifest.graphs.refiner!, asked));
}

function keptAs(keep: string): Kept {
  const answer = kept.get(keep);
  if (!answer) throw new Error("this answer is no longer kept; ask again");
  return answer;
}

function cutWhole(key: string, { logits }: Answer): Patch {
  return cutLogits(logits, known(key).geometry, manifest.spec.mask_threshold).patch;
}

function upright(photo: Blob | ImageBitmap): Promise<ImageBitmap> {
  return createImageBitmap(photo, { imageOrientation: "from-image", premultiplyAlpha: "none" });
}

function known(key: string): Embedding {
  const embedding = seen.get(key);
  if (!embedding) throw new Error("the photo has not been seen yet");
  remember(seen, key, embedding, SEEN);
  return embedding;
}

function readRows(bitmap: ImageBitmap, top: number, rows: number): Uint8ClampedArray {
  const canvas = new OffscreenCanvas(bitmap.width, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, -top);
  return context.getImageData(0, 0, bitmap.width, rows).data;
}

self.onmessage = async ({ data }: MessageEvent<Message>) => {
  const say = (reply: Reply) => self.postMessage(reply);
  const { id, kind } = data;
  try {
    const handler = handlers[kind] as Handler<Kind>;
    const value = await handler(data, (done, all) => say({ id, progress: [done, all] }));
    say({ id, value });
  } catch (error) {
    say({ id, error: error instanceof Error ? error.message : String(error) });
  }
};
