/** What the JavaScript package says where files are missing, and what its plugin puts into a build. */

import { expect, test, vi } from "vitest";

import { checkKeys, KEYS } from "../package/src/keys";
import anymask from "../package/vite.js";
import { explained } from "../src/model/graph";
import { readJson } from "../src/model/manifest";

vi.mock("node:fs", () => ({
  readdirSync: (folder: URL) => (folder.pathname.endsWith("/model/") ? ["a.onnx"] : ["b.wasm"]),
  readFileSync: (file: URL) => `content of ${file.pathname.split("/lib/")[1]}`,
}));

test("the plugin for Vite puts model and runtime beside the script, and leaves workers alone", () => {
  const files: Record<string, string> = {};
  const build = { emitFile: (file: { fileName: string; source: string }) => keep(file) };
  const keep = ({ fileName, source }: { fileName: string; source: string }) =>
    (files[fileName] = source);
  const plugin = anymask() as unknown as {
    config: () => object;
    configResolved: (config: object) => void;
    generateBundle: (this: typeof build) => void;
  };
  expect(plugin.config()).toEqual({ optimizeDeps: { exclude: ["anymask"] } });
  plugin.configResolved({ build: { assetsDir: "static" } });
  plugin.generateBundle.call(build);
  expect(files).toEqual({
    "static/model/a.onnx": "content of model/a.onnx",
    "static/ort/b.wasm": "content of ort/b.wasm",
  });
});

test("a page in place of a manifest is told as that", async () => {
  const page = new Response("<!doctype html><html></html>");
  await expect(readJson(page)).rejects.toThrow(
    /manifest of an exported model, but starts with "<!doctype html><html"/,
  );
  expect(await readJson(new Response('{"name": "nano"}'))).toEqual({ name: "nano" });
});

test("a runtime that is not there and a graph that is cut are told apart", () => {
  const silent = "no available backend found. ERR: [wasm] expected magic word 00 61 73 6d";
  expect(explained(silent, "encoder.onnx")).toMatch(/^ONNX Runtime could not start/);
  expect(explained("protobuf parsing failed", "encoder.onnx")).toBe(
    "encoder.onnx cannot be opened (protobuf parsing failed). Copy the file again.",
  );
});

test("a misspelled key is named, with the one that was meant", () => {
  expect(() => checkKeys({ pionts: [[1, 2]] }, "prompt")).toThrow(
    'Unknown key "pionts" in prompt. Did you mean "points"?',
  );
  expect(() => checkKeys({ refineedges: true }, "segment")).toThrow('Did you mean "refineEdges"?');
  expect(() => checkKeys({ color: "red" }, "everything")).toThrow(
    "Known keys: progress, maxHoleArea, minIslandArea.",
  );
  for (const [place, known] of Object.entries(KEYS)) {
    const given = Object.fromEntries(known.map((key) => [key, undefined]));
    checkKeys(given, place as keyof typeof KEYS);
  }
});
