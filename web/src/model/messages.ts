/** What the page and its two workers say to each other. */

import type { Patch } from "../masks/patch";
import type { Rle } from "../masks/rle";
import type { Features } from "./features";
import type { GridSettings, Proposals } from "./everything";
import type { Tables } from "./families/family";
import type { Manifest, Part } from "./manifest";
import type { Prompt } from "./prompts";
import type { Pixels } from "./resample";
import type { Corrected, Fine, Settings } from "./segment";
import type { SubjectProbe } from "./subject";

export interface Asks {
  open: {
    ask: { part: Part; graph: ArrayBuffer; manifest: Manifest; tables: Tables; threads: number };
    reply: { provider: string };
  };
  encode: { ask: { image: Blob | ImageBitmap | Pixels }; reply: Features };
  features: { ask: { key: string; features: Features }; reply: null };
  answer: {
    ask: { key: string; prompt: Prompt; limit: number; settings: Settings; keep: string };
    reply: Corrected;
  };
  cut: { ask: { keep: string; index: number }; reply: Patch };
  pixels: { ask: { key: string; image: Blob | ImageBitmap }; reply: null };
  closer: { ask: { keep: string }; reply: Pixels | null };
  refine: {
    ask: { keep: string; index: number; whole: boolean; edges: boolean; near: Features | null };
    reply: Fine;
  };
  vectors: { ask: { key: string; masks: Rle[] }; reply: Float32Array[] }; // for names
  subject: {
    ask: { key: string; probe: SubjectProbe };
    reply: { patch: Patch; score: number } | null;
  };
  everything: { ask: { key: string; settings: GridSettings }; reply: Proposals };
}

/** Told while something long is going on. */
export type Progress = (done: number, all: number) => void;

export type Kind = keyof Asks;
export type Message = { [K in Kind]: { id: number; kind: K } & Asks[K]["ask"] }[Kind];
export type Reply =
  | { id: number; value: unknown }
  | { id: number; error: string }
  | { id: number; progress: Parameters<Progress> };
