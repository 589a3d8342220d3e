/**
 * Vite plugin that copies ONNX Runtime and the model next to the built script.
 *
 *     import anymask from "anymask/vite";
 *     export default { plugins: [anymask()] };
 */

import { readFileSync, readdirSync } from "node:fs";

const LIB = new URL("./lib/", import.meta.url);
const FOLDERS = ["model", "ort"]; // what the package asks for beside itself

export default function anymask() {
  let folder = "assets";
  return {
    name: "anymask",
    config: () => ({ optimizeDeps: { exclude: ["anymask"] } }), // its workers are files of their own
    configResolved({ build }) {
      folder = build.assetsDir;
    },
    generateBundle() {
      for (const part of FOLDERS) {
        for (const name of readdirSync(new URL(`${part}/`, LIB))) {
          const fileName = [folder, part, name].filter(Boolean).join("/");
          this.emitFile({
            type: "asset",
            fileName,
            source: readFileSync(new URL(`${part}/${name}`, LIB)),
          });
        }
      }
    },
  };
}
