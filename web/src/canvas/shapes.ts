/** What lies over the image: a mask's window, clicks, boxes, outlines, the brush. */

import type { Patch } from "../masks/patch";
import type { Ring } from "../masks/outline";
import type { XY } from "../model/geometry";
import type { Simple } from "../masks/simplify";
import type { Click } from "../model/negative_clicks";
import { packed, type Rgb } from "./colors";
import { samples, type Surface, type View } from "./view";

const ACCENT = [61, 139, 255] as const;
export const UNNAMED = [214, 220, 228] as const; // no class has this color

const scratch = document.createElement("canvas");
let memory = new ArrayBuffer(0);

export interface Paint {
  color: Rgb;
  fill: number;
  edge: number;
}

/** A mask at whatever size its window has, over the image. */
export function drawPatch({ context, view }: Surface, patch: Patch, paint: Paint): void {
  const painted = paintPatch(view, patch, paint);
  if (!painted) return;
  const { image, left, top } = painted;
  const { width, height } = image;
  if (scratch.width < width) scratch.width = width;
  if (scratch.height < height) scratch.height = height;
  scratch.getContext("2d")!.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(scratch, 0, 0, width, height, left, top, width, height);
}

/** The part of the screen with a mask, as pixels, or null; the next call takes the memory back. */
export function paintPatch(view: View, patch: Patch, paint: Paint) {
  const step = (view.hw[1] / patch.hw[1]) * view.scale; // screen pixels of one mask pixel
  const left = Math.max(0, Math.floor(view.x + patch.x * step) - 1);
  const right = Math.min(view.width, Math.ceil(view.x + (patch.x + patch.width) * step) + 1);
  const stepY = (view.hw[0] / patch.hw[0]) * view.scaleY;
  const bottom = Math.min(view.height, Math.ceil(view.y + (patch.y + patch.height) * stepY) + 1);
  const top = Math.max(0, Math.floor(view.y + patch.y * stepY) - 1);
  const [width, height] = [Math.floor(right - left), Math.floor(bottom - top)];
  if (width <= 0 || height <= 0) return null;
  const xs = samples(left, width, view.x + patch.x * step, step, patch.width);
  const ys = samples(top, height, view.y + patch.y * stepY, stepY, patch.height);
  const image = emptyImage(width, height);
  shade(image, patch, xs, ys, packed(paint.color, paint.fill), packed(paint.color, paint.edge));
  return { image, left, top };
}

/** Empty pixels on memory that is kept: the pointer asks for them with every move. */
function emptyImage(width: number, height: number): ImageData {
  if (memory.byteLength < 4 * width * height) memory = new ArrayBuffer(4 * width * height);
  const bytes = new Uint8ClampedArray(memory, 0, 4 * width * height);
  return new ImageData(bytes.fill(0), width, height);
}

/** A mask's pixels in its fill, those with a neighbor off it in its edge. */
function shade(
  image: ImageData,
  { data, width: columns }: Patch,
  xs: Int32Array,
  ys: Int32Array,
  fill: number,
  edge: number,
): void {
  const { width, height } = image;
  const pixels = new Uint32Array(image.data.buffer, 0, width * height);
  const row = (y: number) => (y < 0 || y >= height ? -1 : ys[y] < 0 ? -1 : ys[y] * columns);
  const has = (line: number, x: number) => line >= 0 && xs[x] >= 0 && data[line + xs[x]] === 1;
  for (let y = 0; y < height; y++) {
    const [here, above, below] = [row(y), row(y - 1), row(y + 1)];
    if (here < 0) continue;
    let before = false;
    let on = has(here, 0);
    for (let x = 0, at = y * width; x < width; x++, at++) {
      const next = x + 1 < width && has(here, x + 1);
      if (on) pixels[at] = before && next && has(above, x) && has(below, x) ? fill : edge;
      before = on;
      on = next;
    }
  }
}

/** A line with a dark rim, to be seen on any image. */
function rimmed(context: CanvasRenderingContext2D, color: string, width = 1.5): void {
  context.lineJoin = "round";
  context.strokeStyle = "rgb(0 0 0 / 0.6)";
  context.lineWidth = width + 2;
  context.stroke();
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}

export function drawClicks(
  { context, view }: Surface,
  clicks: readonly Click[],
  violated: readonly number[],
): void {
  clicks.forEach(({ x, y, label }, i) => {
    const [left, top] = view.toScreen([x, y]);
    context.beginPath();
    context.arc(left, top, 6.5, 0, 2 * Math.PI);
    context.fillStyle = label ? "#1fbf6b" : "#f0464b";
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = "#fff";
    context.stroke();
    context.beginPath();
    context.moveTo(left - 3, top);
    context.lineTo(left + 3, top);
    if (label) {
      context.moveTo(left, top - 3);
      context.lineTo(left, top + 3);
    }
    context.stroke();
    if (!violated.includes(i)) return;
    context.beginPath();
    context.arc(left, top, 10.5, 0, 2 * Math.PI);
    rimmed(context, "#ffc93c");
  });
}

export function drawBox({ context, view }: Surface, box: readonly number[], color = "#fff"): void {
  const [left, top] = view.toScreen([box[0], box[1]]);
  const [right, bottom] = view.toScreen([box[2], box[3]]);
  context.beginPath();
  context.rect(left, top, right - left, bottom - top);
  rimmed(context, color);
}

export function drawLine({ context, view }: Surface, points: readonly XY[], closed: boolean): void {
  context.beginPath();
  points.forEach((point, i) => {
    const [x, y] = view.toScreen(point);
    if (i) context.lineTo(x, y);
    else context.moveTo(x, y);
  });
  if (closed) context.closePath();
  rimmed(context, "#fff");
}

const ROOM = 11; // screen pixels between handles; zooming in shows those left out

export function drawHandles({ context, view }: Surface, ring: Ring, active: number): void {
  let drawn: XY = [-ROOM, -ROOM];
  ring.forEach((point, i) => {
    const [x, y] = view.toScreen(point);
    if (i !== active && Math.hypot(x - drawn[0], y - drawn[1]) < ROOM) return;
    drawn = [x, y];
    context.beginPath();
    context.rect(x - 4, y - 4, 8, 8);
    context.fillStyle = i === active ? "#ffc93c" : "#fff";
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = "#000";
    context.stroke();
  });
}

/** What masks become when their outlines are simplified, with the corners. */
export function drawSimple(on: Surface, tried: readonly Simple[]): void {
  for (const { patch, rings } of tried) {
    drawPatch(on, patch, { color: [...ACCENT], fill: 0.2, edge: 1 });
    for (const ring of rings) drawHandles(on, ring, -1);
  }
}

export function drawDisc(
  { context, view }: Surface,
  center: XY,
  radius: number,
  color: string,
): void {
  const [x, y] = view.toScreen(center);
  context.beginPath();
  context.arc(x, y, Math.max(1, radius * view.scale), 0, 2 * Math.PI);
  rimmed(context, color, 1);
}

export function drawCross({ context, view }: Surface, center: XY): void {
  const [x, y] = view.toScreen(center);
  context.beginPath();
  for (const [dx, dy] of [
    [1, 0],
    [-1, 0],
    [0, 1],
    [0, -1],
  ]) {
    context.moveTo(x + 4 * dx, y + 4 * dy);
    context.lineTo(x + 13 * dx, y + 13 * dy);
  }
  rimmed(context, "#fff", 1.5);
}
