/** Puts beside the built files what npm is to publish with them: runtime, model, licence. */

import { copyFileSync, mkdirSync } from "node:fs";

const root = new URL("../../", import.meta.url);
const assets = new URL("src/anymask/assets/", root);
const here = new URL("./", import.meta.url);

const parts = {
  "lib/ort/": [
    "web/assets/ort/ort-wasm-simd-threaded.mjs",
    "web/assets/ort/ort-wasm-simd-threaded.wasm",
  ],
  "lib/model/": [
    "manifest.json",
    "tables.json",
    "subject.json",
    "encoder.onnx",
    "decoder.onnx",
    "refiner.onnx",
    "names.onnx",
    "names.npz",
  ].map((name) => `nano/${name}`),
};

for (const [folder, files] of Object.entries(parts)) {
  mkdirSync(new URL(folder, here), { recursive: true });
  for (const file of files) {
    copyFileSync(new URL(file, assets), new URL(folder + file.split("/").at(-1), here));
  }
}
for (const file of ["LICENSE", "NOTICE"]) copyFileSync(new URL(file, root), new URL(file, here));
