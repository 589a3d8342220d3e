/**
 * An image as the encoder takes it, read strip by strip: resized, normalized, padded with zeros.
 *
 * The three resizes of `masks/resize.py`: OpenCV's area mean, and its bilinear for what grows
 * ("area"), Pillow's antialiased bilinear with 8 bits between the axes, and torch's four-pixel
 * bilinear. All work on one axis at a time, so each is a list of weights for each axis. OpenCV's
 * bits are kept: one level of an image's 256 moves the edge of a mask by a hundredth.
 */

import type { Window } from "./closer";
import { clamp, geometryOf, paddedHw, taps, type Geometry, type Size } from "./geometry";
import type { Spec } from "./manifest";

/** For each new place: the first old pixel that counts, and the weights from there on. */
interface Weights {
  first: Int32Array;
  values: Float32Array[];
}

/** Reads rows [top, top + rows) of an image as RGBA bytes. */
export type ReadRows = (top: number, rows: number) => Promise<Uint8ClampedArray>;

/** An image: (height, width, 4) bytes, RGBA. */
export interface Pixels {
  data: Uint8ClampedArray;
  width: number;
  height: number;
}

/** Reads the rows of a window of what is there already. */
export function rowsIn({ data, width }: Pixels, [x0, y0, x1]: Window): ReadRows {
  const wide = 4 * (x1 - x0);
  return async (top, rows) => {
    const out = new Uint8ClampedArray(rows * wide);
    for (let row = 0; row < rows; row++) {
      const from = 4 * ((y0 + top + row) * width + x0);
      out.set(data.subarray(from, from + wide), row * wide);
    }
    return out;
  };
}

const STRIP_PIXELS = 1 << 21;

export async function imageToModel(
  imageHw: Size,
  spec: Spec,
  read: ReadRows,
): Promise<{ pixels: Float32Array; size: Size; geometry: Geometry }> {
  const geometry = geometryOf(imageHw, spec);
  const levels = await resized(imageHw, geometry.inputHw, spec.resample, read);
  const size = paddedHw(geometry.inputHw, spec);
  return { pixels: normalized(levels, geometry, size, spec), size, geometry };
}

/** An image in another size: (newH, newW, 3) of 0 to 255, in whole levels but for torch's. */
export async function resized(
  [height, width]: Size,
  [newH, newW]: Size,
  resample: Spec["resample"],
  read: ReadRows,
): Promise<Float32Array> {
  const isArea = resample === "area"; // which grows in a step of its own
  const small: Size = isArea ? [Math.min(height, newH), Math.min(width, newW)] : [newH, newW];
  const across = axisWeights(width, small[1], resample);
  const down = axisWeights(height, small[0], resample);
  const length = small[1] * 3;
  const narrow = new Float32Array(height * length);
  const rows = Math.max(1, Math.floor(STRIP_PIXELS / width));
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    const strip = await read(top, count);
    for (let row = 0; row < count; row++) {
      const source = strip.subarray(row * width * 4, (row + 1) * width * 4);
      const target = narrow.subarray((top + row) * length, (top + row + 1) * length);
      narrowRow(source, across, target);
    }
  }
  if (resample === "pillow_bilinear" && newW !== width) roundBytes(narrow);
  const short = shorten(narrow, length, down);
  const halved = height === 2 * small[0] && width === 2 * small[1]; // OpenCV's own case
  if (resample !== "torch_bilinear") roundBytes(short, isArea && !halved);
  return isArea ? grown(short, small, [newH, newW]) : short;
}

/** An image in a smaller size, each pixel the mean of those that it covers; or as it is. */
export async function smallerImage(
  [height, width]: Size,
  [rows, columns]: Size,
  read: ReadRows,
): Promise<Pixels> {
  if (rows === height && columns === width) return { data: await read(0, height), width, height };
  const [across, down] = [areaWeights(width, columns), areaWeights(height, rows)];
  const narrow = new Float32Array(columns * 3);
  const sums = new Float32Array(rows * columns * 3);
  const strip = Math.max(1, Math.floor(STRIP_PIXELS / width));
  for (let top = 0, first = 0; top < height; top += strip) {
    const count = Math.min(strip, height - top);
    const bytes = await read(top, count);
    for (let row = 0; row < count; row++) {
      narrowRow(bytes.subarray(row * width * 4, (row + 1) * width * 4), across, narrow);
      const old = top + row;
      while (down.first[first] + down.values[first].length <= old) first++;
      for (let y = first; y < rows && down.first[y] <= old; y++) {
        const share = down.values[y][old - down.first[y]];
        const target = sums.subarray(y * narrow.length, (y + 1) * narrow.length);
        for (let at = 0; at < narrow.length; at++) target[at] += share * narrow[at];
      }
    }
    await new Promise((resume) => setTimeout(resume)); // clicks that came meanwhile go first
  }
  const data = new Uint8ClampedArray(rows * columns * 4);
  for (let at = 0, from = 0; at < data.length; at += 4, from += 3) {
    for (let channel = 0; channel < 3; channel++) data[at + channel] = sums[from + channel];
    data[at + 3] = 255;
  }
  return { data, width: columns, height: rows };
}

function axisWeights(old: number, count: number, resample: Spec["resample"]): Weights {
  if (old === count) return bilinearWeights(old, count);
  if (resample === "pillow_bilinear") return triangleWeights(old, count);
  return resample === "area" ? areaWeights(old, count) : bilinearWeights(old, count);
}

function bilinearWeights(old: number, count: number): Weights {
  const { first, weight } = taps(old, count);
  const values = Array.from(weight, (share, i) =>
    share > 0 && first[i] + 1 < old ? Float32Array.of(1 - share, share) : Float32Array.of(1),
  );
  return { first, values };
}

/** Each new pixel is the mean of the old ones that it covers: `count` of `old`, or all of them. */
export function areaWeights(old: number, count: number): Weights {
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
    const center = (i + 0.5) * scale;
    first[i] = Math.max(0, Math.floor(center - reach + 0.5));
    const last = Math.min(old, Math.floor(center + reach + 0.5));
    const shares = new Float32Array(last - first[i]);
    let sum = 0;
    for (let x = first[i]; x < last; x++) {
      const share = Math.max(0, 1 - Math.abs((x - center + 0.5) / reach));
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
      red = Math.fround(red + Math.fround(shares[i] * source[at]));
      green = Math.fround(green + Math.fround(shares[i] * source[at + 1]));
      blue = Math.fround(blue + Math.fround(shares[i] * source[at + 2]));
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
      for (let at = 0; at < length; at++) target[at] += Math.fround(share * source[at]);
    });
  }
  return out;
}

/** To whole levels, halves up or to the even one. */
function roundBytes(values: Float32Array, toEven = false): void {
  for (let i = 0; i < values.length; i++) {
    const level = toEven ? roundEven(values[i]) : Math.round(values[i]);
    values[i] = Math.min(255, Math.max(0, level));
  }
}

export function roundEven(value: number): number {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

/** OpenCV's bilinear of bytes, in its fixed point: weights of 11 bits, cut off on the way. */
function grown(bytes: Float32Array, [height, width]: Size, [newH, newW]: Size): Float32Array {
  if (newH === height && newW === width) return bytes;
  const across = fixedTaps(width, newW);
  const wide = new Int32Array(height * newW * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < newW; x++) {
      const low = (y * width + clamp(across.first[x], 0, width - 1)) * 3;
      const high = (y * width + clamp(across.first[x] + 1, 0, width - 1)) * 3;
      for (let channel = 0; channel < 3; channel++, at++) {
        wide[at] = bytes[low + channel] * across.own[x] + bytes[high + channel] * across.next[x];
      }
    }
  }
  return lengthened(wide, newW * 3, height, newH);
}

function lengthened(wide: Int32Array, length: number, height: number, newH: number): Float32Array {
  const down = fixedTaps(height, newH);
  const out = new Float32Array(newH * length);
  for (let y = 0, to = 0; y < newH; y++) {
    const [above, below] = [0, 1].map((i) => clamp(down.first[y] + i, 0, height - 1) * length);
    for (let at = 0; at < length; at++, to++) {
      const high = (down.own[y] * (wide[above + at] >> 4)) >> 16;
      const low = (down.next[y] * (wide[below + at] >> 4)) >> 16;
      out[to] = (high + low + 2) >> 2;
    }
  }
  return out;
}

const ONE = 2048; // of OpenCV's fixed-point weights

/** The old place before each new one, maybe off the image, its weight and the next one's. */
function fixedTaps(old: number, count: number) {
  const first = new Int32Array(count);
  const own = new Int32Array(count);
  const next = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const place = Math.fround((i + 0.5) * (old / count) - 0.5);
    first[i] = Math.floor(place);
    next[i] = roundEven(Math.fround(place - first[i]) * ONE);
    own[i] = ONE - next[i];
  }
  return { first, own, next };
}

/** (h, w, 3) bytes -> three planes of `size`, zeros right and below. */
function normalized(short: Float32Array, geometry: Geometry, size: Size, spec: Spec): Float32Array {
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
