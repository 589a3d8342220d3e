/**
 * A worker of the page: it encodes, or it decodes. Two of them run, so that a prefetched image
 * never keeps a click waiting.
 */

import type { InferenceSession } from "onnxruntime-web/wasm";

import { patchArea, type Patch } from "../masks/patch";
import { closeUp, type CloseUp } from "./close_up";
import { closerWindow, logitsAround, meanChance } from "./closer";
import { objectBox, patchOnImage, promptInWindow } from "./closer";
import type { Window } from "./closer";
import { LONGEST, enlarged, refined, type EdgeQuestion } from "./edges";
import type { Features } from "./features";
import { BATCH, gridPrompts, passing, toProposals, withoutDuplicates } from "./everything";
import type { Found } from "./everything";
import { openFamily } from "./families";
import type { Family } from "./families/family";
import { reduced, type Size } from "./geometry";
import { decode, encode, maskVectors, openGraph, refineEdge } from "./graph";
import { cutLogits } from "./logits";
import type { Manifest } from "./manifest";
import type { Asks, Kind, Message, Progress, Reply } from "./messages";
import { contradicted, heldTo } from "./negative_clicks";
import { tokensOf, type Prompt, type Tokens } from "./prompts";
import { USUAL, type LeastAreas } from "./region_size";
import { imageToModel, rowsIn, smallerImage, type Pixels, type ReadRows } from "./resample";
import { answersTo, decodedOnce, shown, tidied } from "./segment";
import type { Decoding, Fine, Shown } from "./segment";
import { bestCandidate, subjectMap } from "./subject";

const MAX_FEATURES = 4; // features kept
const KEPT = 4; // answers whose logits are kept for cutting at the image's own size

/** An answer whose masks can be drawn once more. */
interface Kept {
  key: string;
  prompt: Prompt;
  answers: Shown[];
  least: LeastAreas;
  near: Near | null; // what is looked at closer
  fine: Map<number, Fine>; // by the answer's place: as it is kept, once made
}

/** A window of the image around an answer's first mask. */
interface Near {
  window: Window;
  crop: Pixels;
  mask: Patch;
}

/** The image that is looked at again. */
interface LoadedPixels {
  key: string;
  pixels: Pixels; // as edges are looked for
  whole: Blob | ImageBitmap | null; // where the image is larger than that
}

let session: InferenceSession;
let refiner: InferenceSession;
let namer: InferenceSession;
let manifest: Manifest;
let family: Family;
const featureCache = new Map<string, Features>();
const kept = new Map<string, Kept>();
let loaded: LoadedPixels | null = null;
let closest: { keep: string; one: Kept } | null = null; // kept while it is looked at closer
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
  progress: Progress,
) => Promise<Asks[K]["reply"]>;

const handlers: { [K in Kind]: Handler<K> } = {
  async open(ask) {
    manifest = ask.manifest;
    family = openFamily(manifest.spec, ask.tables);
    const { file } = manifest.graphs[ask.part]!;
    const opened = await inTurn(() => openGraph(ask.graph, ask.threads, file));
    if (ask.part === "refiner") refiner = opened.session;
    else if (ask.part === "names") namer = opened.session;
    else session = opened.session;
    return { provider: opened.provider };
  },

  async encode({ image }) {
    const { hw, part, close } = await opened(image);
    const read = part(wholeOf(hw));
    const { pixels, size, geometry } = await imageToModel(hw, manifest.spec, read);
    close();
    const maps = await inTurn(() => encode(session, manifest, pixels, size));
    return { geometry, model: manifest.name, modelHash: manifest.weights_hash, maps };
  },

  async features({ key, features }) {
    remember(featureCache, key, features, MAX_FEATURES);
    return null;
  },

  async answer({ key, prompt, limit, settings, keep }) {
    const features = known(key);
    const asked = asking(features);
    const { least } = settings;
    const answers = await inTurn(() => answersTo(prompt, asked, settings));
    const one: Kept = { key, prompt, answers, least, near: null, fine: new Map() };
    if (keep) remember(kept, keep, one, KEPT);
    const first = keep ? answers : answers.slice(0, 1);
    const logits = keep ? answers.map(({ own }) => own) : [];
    return { ...shown(first, prompt, asked, least, limit), logits };
  },

  async cut({ keep, index }) {
    const one = keptAs(keep);
    return heldTo(cutWhole(one, index), one.prompt.clicks, known(one.key).geometry);
  },

  async pixels({ key, image }) {
    const { hw, part, close } = await opened(image);
    const { imageHw } = reduced(known(key).geometry, LONGEST);
    const pixels = await smallerImage(hw, imageHw, part(wholeOf(hw)));
    close();
    loaded = { key, pixels, whole: pixels.width < hw[1] ? image : null };
    return null;
  },

  async closer({ keep }) {
    const one = keptAs(keep);
    if (!manifest.closer || one.answers.length > 1 || one.fine.has(0)) return null;
    const { imageHw } = known(one.key).geometry;
    const mask = cutWhole(one, 0);
    const box = objectBox(one.prompt, mask);
    const window = box && closerWindow(box, imageHw, manifest.closer);
    if (!window) return null;
    const { pixels, whole } = pixelsOf(one.key);
    const crop = await cropped(whole ?? pixels, window);
    one.near = { window, crop, mask };
    closest = { keep, one };
    return crop;
  },

  async refine({ keep, index, whole, edges, near }) {
    const one = keptAs(keep);
    const { geometry } = known(one.key);
    if (!one.fine.has(index)) {
      const fine = await inTurn(
        async () =>
          (near && (await refineInCrop(one, near, edges))) ?? refineOnce(one, index, edges),
      );
      one.fine.set(index, fine);
      one.near = null;
    }
    const fine = one.fine.get(index)!;
    const patch = whole ? enlarged(fine.patch, geometry.imageHw) : fine.patch;
    return { ...fine, patch: heldTo(patch, one.prompt.clicks, geometry) };
  },

  async vectors({ key, masks }) {
    const { pixels, whole } = pixelsOf(key);
    const { part, close } = await opened(whole ?? pixels);
    const crops: CloseUp[] = [];
    for (const mask of masks) crops.push(await closeUp(mask, part));
    close();
    return inTurn(() => maskVectors(namer, manifest.graphs.names!, crops));
  },

  async subject({ key, probe }) {
    const features = known(key);
    const asked = asking(features);
    const settings = { granularity: "all", least: USUAL } as const;
    const best = await bestCandidate(features, subjectMap(features, probe), asked, (prompt) =>
      inTurn(() => answersTo(prompt, asked, settings)),
    );
    return best && best.score >= probe.least ? best : null;
  },

  async everything({ key, settings }, progress) {
    const features = known(key);
    const { spec } = manifest;
    const prompts = gridPrompts(settings.pointsPerSide, features.geometry.imageHw);
    let found: Found[] = [];
    for (let at = 0; at < prompts.length; at += BATCH) {
      const batch = prompts.slice(at, at + BATCH);
      const tokens = batch.map((prompt) => tokensOf(prompt, features.geometry, spec));
      const out = await inTurn(() => decode(session, manifest, features, tokens));
      found = found.concat(
        batch.flatMap((prompt, n) =>
          passing(prompt, family.candidates(out[n]), spec.mask_threshold, settings),
        ),
      );
      progress(at + batch.length, prompts.length);
      await new Promise((resume) => setTimeout(resume)); // clicks that came meanwhile go first
    }
    const once = withoutDuplicates(found, settings.overlap);
    return toProposals(once, features.geometry, spec.mask_threshold, settings);
  },
};

/** A mask of an answer, its edge where the image has it, of the size `edges` looks at. */
async function refineOnce(kept: Kept, index: number, edges: boolean) {
  const { key, prompt, answers, least } = kept;
  const { geometry } = known(key);
  const { logits, score } = answers[index];
  const threshold = manifest.spec.mask_threshold;
  const drawn = { logits, threshold, prompt, geometry, least };
  const patch = edges ? await refined(drawn, pixelsOf(key).pixels, network) : null;
  return {
    patch: patch ?? cutWhole(kept, index),
    score,
    violated: contradicted(prompt.clicks, geometry),
  };
}

/** The mean of an answer and of that in the window around it; null where nothing is left. */
async function refineInCrop(
  { key, prompt, answers, least, near }: Kept,
  cropFeatures: Features,
  edges: boolean,
): Promise<Fine | null> {
  const { spec, closer } = manifest;
  const { window, crop, mask } = near!;
  const { imageHw } = known(key).geometry;
  const { geometry } = cropFeatures;
  const threshold = spec.mask_threshold;
  const around = logitsAround(answers[0].own, known(key).geometry, window, geometry);
  const moved = promptInWindow(prompt, window, mask);
  const settings = { granularity: "all", least } as const;
  const mean = (found: Float32Array) => meanChance(found, around, threshold, closer!.weight);
  const [{ logits, score }] = await decodedOnce(moved, asking(cropFeatures), settings, null, mean);
  const drawn = { logits, threshold, prompt: moved, geometry, least };
  const small = reduced(geometry, LONGEST).imageHw;
  const cropRows = rowsIn(crop, wholeOf(geometry.imageHw));
  const patch = edges
    ? await refined(drawn, await smallerImage(geometry.imageHw, small, cropRows), network)
    : null;
  const own = () => tidied(cutLogits(logits, geometry, threshold).patch, moved, least);
  const fine = enlarged(patch ?? own(), geometry.imageHw);
  if (!patchArea(fine)) return null;
  const whole = patchOnImage(fine, window, imageHw);
  return { patch: whole, score, violated: contradicted(prompt.clicks, known(key).geometry) };
}

const network = (asked: EdgeQuestion) => refineEdge(refiner, manifest.graphs.refiner!, asked);

/** The model, ready to be asked about what has been seen. */
function asking(features: Features): Decoding {
  return {
    family,
    decode: async (tokens: Tokens) => (await decode(session, manifest, features, [tokens]))[0],
    geometry: features.geometry,
    spec: manifest.spec,
  };
}

function pixelsOf(key: string): LoadedPixels {
  if (loaded?.key !== key)
    throw new Error("The pixels of this image are not loaded. Encode the image again.");
  return loaded;
}

function keptAs(keep: string): Kept {
  const answer = kept.get(keep) ?? (closest?.keep === keep ? closest.one : null);
  if (!answer) throw new Error("This prediction is no longer cached. Predict again.");
  return answer;
}

/** A mask of an answer as the model draws it, pixel for pixel. */
function cutWhole({ key, prompt, answers, least }: Kept, index: number): Patch {
  const { geometry } = known(key);
  const { patch } = cutLogits(answers[index].logits, geometry, manifest.spec.mask_threshold);
  return tidied(patch, prompt, least);
}

function known(key: string): Features {
  const features = featureCache.get(key);
  if (!features) throw new Error("The image is not encoded yet.");
  remember(featureCache, key, features, MAX_FEATURES);
  return features;
}

const wholeOf = ([height, width]: Size): Window => [0, 0, width, height];

/** An image whose windows can be read, row by row. */
async function opened(image: Blob | ImageBitmap | Pixels) {
  if ("data" in image) {
    const hw: Size = [image.height, image.width];
    return { hw, part: (window: Window) => rowsIn(image, window), close: () => undefined };
  }
  const upright = { imageOrientation: "from-image", premultiplyAlpha: "none" } as const;
  const bitmap = await createImageBitmap(image, upright);
  const part =
    ([x0, y0, x1]: Window): ReadRows =>
    async (top, rows) =>
      readPart(bitmap, [x0, y0 + top, x1, y0 + top + rows]);
  const hw: Size = [bitmap.height, bitmap.width];
  return { hw, part, close: () => bitmap.close() };
}

/** A window of an image. */
async function cropped(image: Blob | ImageBitmap | Pixels, window: Window): Promise<Pixels> {
  const [width, height] = [window[2] - window[0], window[3] - window[1]];
  const { part, close } = await opened(image);
  const data = await part(window)(0, height);
  close();
  return { data, width, height };
}

function readPart(bitmap: ImageBitmap, [x0, y0, x1, y1]: Window): Uint8ClampedArray {
  const canvas = new OffscreenCanvas(x1 - x0, y1 - y0);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, -x0, -y0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
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
