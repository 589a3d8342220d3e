/** NumPy's archives (.npz: a ZIP of .npy files) -> arrays of bytes with their types and shapes. */

const ENTRY = 0x02014b50; // of the ZIP's directory
const END = 0x06054b50; // of the ZIP
const STORED = 0;
const DEFLATED = 8;

export interface NpyArray {
  dtype: string; // as NumPy writes it: "<f4"
  shape: number[];
  bytes: ArrayBuffer;
}

const broken = (why: string) =>
  new Error(`The file is not a valid array archive (.npz): ${why}. Copy it again.`);

/** The arrays by name, without the suffix. Throws for anything else. */
export async function readNpz(bytes: ArrayBuffer): Promise<Map<string, NpyArray>> {
  const view = new DataView(bytes);
  let end = bytes.byteLength - 22; // the directory's end, before which a comment may stand
  while (end >= 0 && view.getUint32(end, true) !== END) end--;
  if (end < 0) throw broken(`it holds ${bytes.byteLength} bytes of other data`);
  const count = view.getUint16(end + 10, true);
  const arrays = new Map<string, NpyArray>();
  try {
    for (let i = 0, at = view.getUint32(end + 16, true); i < count; i++) {
      if (view.getUint32(at, true) !== ENTRY) throw broken("its directory is corrupted");
      const [name, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
      const title = new TextDecoder().decode(new Uint8Array(bytes, at + 46, name));
      arrays.set(title.replace(/\.npy$/, ""), readNpy(await unpacked(bytes, view, at)));
      at += 46 + name + extra + comment;
    }
  } catch (error) {
    throw error instanceof RangeError ? broken("it is truncated") : error;
  }
  return arrays;
}

async function unpacked(bytes: ArrayBuffer, view: DataView, at: number): Promise<ArrayBuffer> {
  const method = view.getUint16(at + 10, true);
  const [size, local] = [view.getUint32(at + 20, true), view.getUint32(at + 42, true)];
  const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
  const packed = new Uint8Array(bytes, start, size);
  if (method === STORED) return packed.slice().buffer;
  if (method !== DEFLATED) throw broken(`compression method ${method} is not supported`);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).arrayBuffer();
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
