import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { defineConfig, type Plugin } from "vite";

const dist = join(import.meta.dirname, "../node_modules/onnxruntime-web/dist");
const out = "package/lib";

/** Every file that the package is made of, in the order of tests/web/test_package_files.py. */
function sources(): string[] {
  const folders = ["package/src", "src/masks", "src/model"].flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).replaceAll("\\", "/")),
  );
  return [...folders, "package-lock.json", "package/vite.config.ts"].sort();
}

/** The hash of the sources. */
function hash(): Plugin {
  return {
    name: "hash",
    apply: "build",
    closeBundle() {
      const digest = createHash("sha256");
      for (const file of sources()) digest.update(file + "\0").update(readFileSync(file));
      writeFileSync(`${out}/build.json`, JSON.stringify({ sources: digest.digest("hex") }) + "\n");
    },
  };
}

export default defineConfig({
  base: "./",
  define: { WEBGPU: "false" },
  resolve: { alias: { "onnxruntime-web/wasm": join(dist, "ort.wasm.min.mjs") } },
  worker: { format: "es", rollupOptions: { output: { entryFileNames: "worker.js" } } },
  plugins: [hash()],
  build: {
    outDir: out,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    chunkSizeWarningLimit: 1000,
    rollupOptions: {
      input: "package/src/index.ts",
      preserveEntrySignatures: "strict",
      output: { entryFileNames: "[name].js", chunkFileNames: "[name].js" },
    },
  },
});
