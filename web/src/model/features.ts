/** What the encoder saw in one image, as the page keeps it and as the server sends it. */

import type { Geometry, Size } from "./geometry";

export interface Map3 {
  name: string;
  shape: number[]; // (C, h, w)
  data: Float32Array;
}

export interface Features {
  geometry: Geometry;
  model: string;
  modelHash: string;
  imageHash?: string; // the server's name for the pixels
  maps: Map3[];
}

interface Header {
  image_hw: Size;
  input_hw: Size;
  side: number;
  model: string;
  model_hash: string;
  image_hash?: string;
  maps: { name: string; shape: number[]; dtype: string }[];
}

/**
 * The server's bytes: uint32 length, JSON header, then the maps one after the other.
 *
 * Throws when the bytes are no whole features.
 */
export function readFeatures(bytes: ArrayBuffer): Features {
  const broken = (why: string) =>
    new Error(`The image embedding is invalid: ${why}. Encode the image again.`);
  if (bytes.byteLength < 4) throw broken(`${bytes.byteLength} bytes`);
  const length = new DataView(bytes).getUint32(0, true);
  if (4 + length > bytes.byteLength) throw broken("its header is truncated");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length))) as Header;
  let at = 4 + length;
  const maps = header.maps.map(({ name, shape, dtype }) => {
    const count = shape.reduce((a, b) => a * b, 1);
    const wide = dtype === "float32" ? 4 : 2;
    if (at + count * wide > bytes.byteLength) throw broken(`its map ${name} is truncated`);
    const part = bytes.slice(at, at + count * wide);
    at += count * wide;
    const data = wide === 4 ? new Float32Array(part) : halvesToFloats(new Uint16Array(part));
    return { name, shape: shape.slice(-3), data };
  });
  const geometry = { imageHw: header.image_hw, inputHw: header.input_hw, side: header.side };
  const { model, model_hash: modelHash, image_hash: imageHash } = header;
  return { geometry, model, modelHash, imageHash, maps };
}

let table: Float32Array | null = null;

/** IEEE 754 half precision to single, through a table of all 65,536 halves. */
export function halvesToFloats(halves: Uint16Array): Float32Array {
  table ??= Float32Array.from({ length: 65536 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return exponent
      ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024)
      : sign * 2 ** -14 * (fraction / 1024);
  });
  const known = table;
  const out = new Float32Array(halves.length);
  for (let i = 0; i < out.length; i++) out[i] = known[halves[i]];
  return out;
}
