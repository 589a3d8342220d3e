/** A ZIP archive without compression: PNG is packed already, and JSON is small. */

import { crc32 } from "./png";

export interface Entry {
  name: string;
  blob: Blob;
}

const UTF8 = 0x0800;

export async function zipOf(entries: Entry[]): Promise<Blob> {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const { name, blob } of entries) {
    const data = new Uint8Array(await blob.arrayBuffer());
    const title = new TextEncoder().encode(name);
    const facts = [crc32(data), data.length, data.length];
    const local = header(0x04034b50, [20, UTF8, 0, 0, 0x21], facts, [title.length, 0]);
    const places = [title.length, 0, 0, 0, 0];
    const entry = header(0x02014b50, [20, 20, UTF8, 0, 0, 0x21], facts, places, [0, at]);
    parts.push(local, title, data);
    directory.push(entry, title);
    at += local.length + title.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = entries.length;
  const end = header(0x06054b50, [0, 0, count, count], [size, at], [0]);
  return new Blob([...parts, ...directory, end] as BlobPart[], { type: "application/zip" });
}

/** A signature, then 2-byte, 4-byte, 2-byte and 4-byte numbers. */
function header(sign: number, ...groups: number[][]): Uint8Array {
  const sizes = groups.map((_, i) => (i % 2 ? 4 : 2));
  const length = groups.reduce((sum, group, i) => sum + group.length * sizes[i], 4);
  const view = new DataView(new ArrayBuffer(length));
  view.setUint32(0, sign, true);
  let at = 4;
  groups.forEach((group, i) =>
    group.forEach((value) => {
      if (sizes[i] === 4) view.setUint32(at, value, true);
      else view.setUint16(at, value, true);
      at += sizes[i];
    }),
  );
  return new Uint8Array(view.buffer);
}
