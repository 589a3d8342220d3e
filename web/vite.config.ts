import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { defineConfig } from "vitest/config";
import type { Plugin } from "vite";

const webgpu = process.env.WEBGPU === "1";
const runtime = webgpu ? "jspi" : "wasm";
const dist = "node_modules/onnxruntime-web/dist";
const out = "../src/anymask/assets/web";

/** Every file that the build depends on, in the order of tests/web/test_build.py. */
function sources(): string[] {
  const own = ["index.html", "package-lock.json", "package.json", "tsconfig.json"];
  const inside = readdirSync("src", { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).replaceAll("\\", "/"));
  return [...own, ...inside, "vite.config.ts"].sort();
}

/** ONNX Runtime's one WebAssembly file beside the page, and the hash of the sources. */
function cargo(): Plugin {
  return {
    name: "cargo",
    apply: "build",
    closeBundle() {
      mkdirSync(`${out}/assets/ort`, { recursive: true });
      const name = `ort-wasm-simd-threaded${webgpu ? ".jspi" : ""}`;
      for (const end of ["mjs", "wasm"]) {
        copyFileSync(`${dist}/${name}.${end}`, `${out}/assets/ort/${name}.${end}`);
      }
      const digest = createHash("sha256");
      for (const file of sources()) digest.update(file + "\0").update(readFileSync(file));
      const about = { sources: digest.digest("hex"), runtime };
      writeFileSync(`${out}/build.json`, JSON.stringify(about, null, 2) + "\n");
    },
  };
}

const shared = {
  define: { WEBGPU: JSON.stringify(webgpu) },
  alias: { "onnxruntime-web/wasm": join(import.meta.dirname, dist, `ort.${runtime}.min.mjs`) },
};

export default defineConfig({
  base: "./",
  define: shared.define,
  resolve: { alias: shared.alias },
  worker: { format: "es" },
  plugins: [cargo()],
  build: {
    outDir: out,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    chunkSizeWarningLimit: 1000,
  },
  test: { include: ["tests/**/*.test.ts"] },
});
