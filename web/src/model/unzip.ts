/** The files of a ZIP archive, stored or deflated. */

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const [STORED, DEFLATED] = [0, 8];

/** The contents by name. Throws an Error that names the fault, as part of a sentence. */
export async function readZip(bytes: ArrayBuffer): Promise<Map<string, ArrayBuffer>> {
  const view = new DataView(bytes);
  let end = bytes.byteLength - 22; // the directory's end, before which a comment may stand
  while (end >= 0 && view.getUint32(end, true) !== END) end--;
  if (end < 0) throw new Error(`its ${bytes.byteLength} bytes are not a ZIP archive`);
  const count = view.getUint16(end + 10, true);
  const files = new Map<string, ArrayBuffer>();
  try {
    for (let i = 0, at = view.getUint32(end + 16, true); i < count; i++) {
      if (view.getUint32(at, true) !== ENTRY) throw new Error("its directory is corrupted");
      const [name, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
      const title = new TextDecoder().decode(new Uint8Array(bytes, at + 46, name));
      if (!title.endsWith("/")) files.set(title, await unpacked(bytes, view, at));
      at += 46 + name + extra + comment;
    }
  } catch (error) {
    throw error instanceof RangeError ? new Error("it is truncated") : error;
  }
  return files;
}

async function unpacked(bytes: ArrayBuffer, view: DataView, at: number): Promise<ArrayBuffer> {
  const method = view.getUint16(at + 10, true);
  const [size, local] = [view.getUint32(at + 20, true), view.getUint32(at + 42, true)];
  const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
  const packed = new Uint8Array(bytes, start, size);
  if (method === STORED) return packed.slice().buffer;
  if (method !== DEFLATED) throw new Error(`compression method ${method} is not supported`);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).arrayBuffer();
}
