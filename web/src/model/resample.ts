/**
 * A photo as the encoder takes it, read strip by strip: resized, normalised, padded with zeros.
 *
 * The three resizes of `primitives/resize.py`: OpenCV's area mean ("area"), Pillow's antialiased
 * bilinear with 8 bits between the axes, and torch's four-pixel bilinear. All work on one axis at
 * a time, so each is a list of weights for each axis.
 */

import { geometryOf, paddedHw, taps } from "./geometry";
import type { Geometry, Size } from "./geometry";
import type { Spec } from "./manifest";

/** For each new place: the first old pixel that counts, and the weights from there on. */
interface Weights {
  first: Int32Array;
  values: Float32Array[];
}

/** Reads rows [top, top + rows) of a photo as RGBA bytes. */
export type ReadRows = (top: number, rows: number) => Promise<Uint8ClampedArray>;

const STRIP_PIXELS = 1 << 21;

export async function imageToModel(
  imageHw: Size,
  spec: Spec,
  read: ReadRows,
): Promise<{ pixels: Float32Array; size: Size; geometry: Geometry }> {
  const geometry = geometryOf(imageHw, spec);
  const [height, width] = imageHw;
  const [newH, newW] = geometry.inputHw;
  const across = axisWeights(width, newW, spec.resample);
  const down = axisWeights(height, newH, spec.resample);
  const narrow = new Float32Array(height * newW * 3);
  const rows = Math.max(1, Math.floor(STRIP_PIXELS / width));
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    const strip = await read(top, count);
    for (let row = 0; row < count; row++) {
      const source = strip.subarray(row * width * 4, (row + 1) * width * 4);
      const target = narrow.subarray((top + row) * newW * 3, (top + row + 1) * newW * 3);
      narrowRow(source, across, target);
    }
  }
  if (spec.resample === "pillow_bilinear" && newW !== width) roundBytes(narrow);
  const short = shorten(narrow, newW * 3, down);
  if (spec.resample !== "torch_bilinear") roundBytes(short);
  const size = paddedHw(geometry.inputHw, spec);
  return { pixels: normalised(short, geometry, size, spec), size, geometry };
}

function axisWeights(old: number, count: number, resample: Spec["resample"]): Weights {
  if (old === count) return bilinearWeights(old, count);
  if (resample === "pillow_bilinear") return triangleWeights(old, count);
  return resample === "area" && count < old ? areaWeights(old, count) : bilinearWeights(old, count);
}

function bilinearWeights(old: number, count: number): Weights {
  const { first, weight } = taps(old, count);
  const values = Array.from(weight, (share, i) =>
    share > 0 && first[i] + 1 < old ? Float32Array.of(1 - share, share) : Float32Array.of(1),
  );
  return { first, values };
}

/** Each new pixel is the mean of the old ones that it covers. */
function areaWeights(old: number, count: number): Weights {
  const scale = old / count;
  const first = new Int32Array(count);
  const values: Float32Array[] = [];
  for (let i = 0; i < count; i++) {
    const low = i * scale;
    const high = Math.min((i + 1) * scale, old);
    first[i] = Math.floor(low + 1e-6);
    const last = Math.min(Math.ceil(high - 1e-6), old);
    const shares = new Float32Array(last - first[i]);
    for (let x = first[i]; x < last; x++) {
      shares[x - first[i]] = (Math.min(high, x + 1) - Math.max(low, x)) / (high - low);
    }
    values.push(shares);
  }
  return { first, values };
}

/** Pillow's: a triangle as wide as the new pixel, or as two old ones. */
function triangleWeights(old: number, count: number): Weights {
  const scale = old / count;
  const reach = Math.max(scale, 1);
  const first = new Int32Array(count);
  const values: Float32Array[] = [];
  for (let i = 0; i < count; i++) {
    const centre = (i + 0.5) * scale;
    first[i] = Math.max(0, Math.floor(centre - reach + 0.5));
    const last = Math.min(old, Math.floor(centre + reach + 0.5));
    const shares = new Float32Array(last - first[i]);
    let sum = 0;
    for (let x = first[i]; x < last; x++) {
      const share = Math.max(0, 1 - Math.abs((x - centre + 0.5) / reach));
      shares[x - first[i]] = share;
      sum += share;
    }
    values.push(shares.map((share) => share / sum));
  }
  return { first, values };
}

function narrowRow(source: Uint8ClampedArray, across: Weights, target: Float32Array): void {
  for (let x = 0; x < across.first.length; x++) {
    const shares = across.values[x];
    let red = 0;
    let green = 0;
    let blue = 0;
    let at = across.first[x] * 4;
    for (let i = 0; i < shares.length; i++, at += 4) {
      red += shares[i] * source[at];
      green += shares[i] * source[at + 1];
      blue += shares[i] * source[at + 2];
    }
    target[x * 3] = red;
    target[x * 3 + 1] = green;
    target[x * 3 + 2] = blue;
  }
}

function shorten(narrow: Float32Array, length: number, down: Weights): Float32Array {
  const out = new Float32Array(down.first.length * length);
  for (let y = 0; y < down.first.length; y++) {
    const target = out.subarray(y * length, (y + 1) * length);
    down.values[y].forEach((share, i) => {
      const source = narrow.subarray((down.first[y] + i) * length);
      for (let at = 0; at < length; at++) target[at] += share * source[at];
    });
  }
  return out;
}

function roundBytes(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    values[i] = Math.min(255, Math.max(0, Math.round(values[i])));
  }
}

/** (h, w, 3) bytes -> three planes of `size`, zeros right and below. */
function normalised(short: Float32Array, geometry: Geometry, size: Size, spec: Spec): Float32Array {
  const [height, width] = geometry.inputHw;
  const [rows, columns] = size;
  const out = new Float32Array(3 * rows * columns);
  for (let channel = 0; channel < 3; channel++) {
    const mean = spec.mean[channel];
    const std = spec.std[channel];
    for (let y = 0; y < height; y++) {
      const row = (channel * rows + y) * columns;
      for (let x = 0; x < width; x++) {
        out[row + x] = (short[(y * width + x) * 3 + channel] - mean) / std;
      }
    }
  }
  return out;
}
