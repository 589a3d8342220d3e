/** NumPy's archives (.npz: a ZIP of .npy files) -> arrays of bytes with their types and shapes. */

import { readZip } from "./unzip";

export interface NpyArray {
  dtype: string; // as NumPy writes it: "<f4"
  shape: number[];
  bytes: ArrayBuffer;
}

const broken = (why: string) =>
  new Error(`The file is not a valid array archive (.npz): ${why}. Copy it again.`);

/** The arrays by name, without the suffix. Throws for anything else. */
export async function readNpz(bytes: ArrayBuffer): Promise<Map<string, NpyArray>> {
  const files = await readZip(bytes).catch((error: Error) => {
    throw broken(error.message);
  });
  const arrays = [...files].map(([name, content]) => {
    return [name.replace(/\.npy$/, ""), readNpy(content)] as const;
  });
  return new Map(arrays);
}

function readNpy(bytes: ArrayBuffer): NpyArray {
  const view = new DataView(bytes);
  const wide = view.getUint8(6) > 1; // the format's version
  const start = wide ? 12 : 10;
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(new Uint8Array(bytes, start, length));
  const dtype = /'descr': '([^']+)'/.exec(header)?.[1];
  const shape = /'fortran_order': False, 'shape': \(([\d, ]*)\)/.exec(header)?.[1];
  if (dtype === undefined || shape === undefined)
    throw broken(`it holds an array of type ${header.trim()}`);
  return {
    dtype,
    shape: shape
      .split(",")
      .filter((part) => part.trim())
      .map(Number),
    bytes: bytes.slice(start + length),
  };
}
