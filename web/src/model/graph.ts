/** The graphs of a bundle in ONNX Runtime's WebAssembly (or WebGPU, in a build that has it). */

import { InferenceSession, Tensor, env } from "onnxruntime-web/wasm";

import type { CloseUp } from "./close_up";
import type { Features, Map3 } from "./features";
import { WINDOW } from "./edge_window";
import type { EdgeQuestion } from "./edges";
import type { Decoded } from "./families/family";
import type { Size } from "./geometry";
import type { GraphInfo, Manifest } from "./manifest";
import type { Tokens } from "./prompts";

const SERVE_IT = "Serve the 'ort' folder of the build at this URL.";

interface Opened {
  session: InferenceSession;
  provider: string;
}

/** Open one graph; `file`: its name. `WEBGPU` is a constant of the build. */
export async function openGraph(
  graph: ArrayBuffer,
  threads: number,
  file: string,
): Promise<Opened> {
  env.wasm.numThreads = threads;
  env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  env.logLevel = "error";
  const providers = WEBGPU && "gpu" in navigator ? ["webgpu", "wasm"] : ["wasm"];
  const session = await InferenceSession.create(new Uint8Array(graph), {
    executionProviders: providers,
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
  }).catch((error: Error) => {
    throw new Error(explained(error.message, file));
  });
  return { session, provider: providers[0] };
}

/** Why a graph was not opened: the runtime did not start, or the file is none. */
export function explained(told: string, file: string): string {
  if (told.startsWith("no available backend")) {
    const place = env.wasm.wasmPaths;
    return (
      `ONNX Runtime could not start. Its .wasm and .mjs files must be in ` +
      `${place}. ${SERVE_IT} (${told})`
    );
  }
  return `${file} cannot be opened (${told}). Copy the file again.`;
}

/** (3, S, S) normalized -> the image's maps. */
export async function encode(
  session: InferenceSession,
  manifest: Manifest,
  pixels: Float32Array,
  size: Size,
): Promise<Map3[]> {
  const { inputs, outputs } = manifest.graphs.encoder;
  const out = await session.run({
    [inputs[0].name]: new Tensor("float32", pixels, [1, 3, ...size]),
  });
  return outputs.map(({ name }) => ({
    name,
    shape: out[name].dims.slice(1) as number[],
    data: out[name].data as Float32Array,
  }));
}

/** What a decoder says about N prompts of equal length. */
export async function decode(
  session: InferenceSession,
  manifest: Manifest,
  features: Features,
  prompts: Tokens[],
): Promise<Decoded[]> {
  const count = prompts.length;
  const points = prompts[0].labels.length;
  const side = manifest.spec.mask_side;
  const given: Record<string, Tensor> = {
    coords: new Tensor("float32", joined(prompts.map((p) => p.coords)), [count, points, 2]),
    labels: new Tensor("int64", bigLabels(prompts), [count, points]),
    masks: new Tensor("float32", joined(prompts.map((p) => p.mask)), [count, 1, side, side]),
    has_mask: new Tensor(
      "float32",
      Float32Array.from(prompts, (p) => p.hasMask),
      [count],
    ),
  };
  for (const { name, shape, data } of features.maps) {
    given[name] = new Tensor("float32", data, [1, ...shape]);
  }
  const out = await session.run(given);
  const [logits, score] = manifest.graphs.decoder.outputs.map(({ name }) => out[name]);
  const tokens = logits.dims[1];
  const all = logits.data as Float32Array;
  const numbers = score.data as Float32Array;
  const rated = numbers.length / count;
  const cells = side * side;
  return prompts.map((_, n) => ({
    planes: Array.from({ length: tokens }, (_, t) =>
      all.subarray((n * tokens + t) * cells, (n * tokens + t + 1) * cells),
    ),
    score: numbers.subarray(n * rated, (n + 1) * rated),
  }));
}

/** What the network of edges says of one window. */
export async function refineEdge(
  session: InferenceSession,
  graph: GraphInfo,
  { image, logits, prompt }: EdgeQuestion,
): Promise<Float32Array> {
  const cells = Math.sqrt(logits.length);
  const given = [
    new Tensor("float32", image, [1, 3, WINDOW, WINDOW]),
    new Tensor("float32", logits, [1, 1, cells, cells]),
    new Tensor("float32", prompt, [1, 2, WINDOW, WINDOW]),
  ];
  return run(session, graph, given);
}

/** What the network of names says of close-ups: a vector of each. */
export async function maskVectors(
  session: InferenceSession,
  graph: GraphInfo,
  crops: CloseUp[],
): Promise<Float32Array[]> {
  const side = Math.sqrt(crops[0].mask.length);
  const given = [
    new Tensor("float32", joined(crops.map((one) => one.image)), [crops.length, 3, side, side]),
    new Tensor("float32", joined(crops.map((one) => one.mask)), [crops.length, 1, side, side]),
  ];
  const all = await run(session, graph, given);
  const length = all.length / crops.length;
  return crops.map((_, n) => all.slice(n * length, (n + 1) * length));
}

/** The one output of a network for its inputs in their order. */
async function run(session: InferenceSession, { inputs, outputs }: GraphInfo, given: Tensor[]) {
  const named = inputs.map(({ name }, place) => [name, given[place]]);
  const out = await session.run(Object.fromEntries(named));
  return out[outputs[0].name].data as Float32Array;
}

function joined(parts: Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0];
  const out = new Float32Array(parts.length * parts[0].length);
  parts.forEach((part, i) => out.set(part, i * part.length));
  return out;
}

function bigLabels(prompts: Tokens[]): BigInt64Array {
  return BigInt64Array.from(prompts.flatMap((prompt) => prompt.labels.map(BigInt)));
}
