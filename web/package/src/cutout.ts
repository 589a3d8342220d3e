/** An image and a mask of it -> the object on nothing, or on a color, as a canvas and as a file. */

import { wrong } from "./keys";
import type { Box, CutoutOptions, Mask } from "../index";

/** Draw the object. Throws an Error for an empty mask or an option that is out of range. */
export function cutOut(image: ImageBitmap, mask: Mask, options: CutoutOptions): OffscreenCanvas {
  const { crop = false, margin = 0, background = null, soft = true } = options;
  if (!(Number.isInteger(margin) && margin >= 0))
    throw wrong("margin must be an integer of at least 0.", margin);
  if (background !== null && !isColor(background))
    throw wrong('background must be a CSS color, such as "white" or "#ff8800".', background);
  if (!mask.box) throw new Error("The mask is empty. Segment again with another prompt.");
  const whole: Box = [0, 0, image.width, image.height];
  const [x0, y0, x1, y1] = crop ? widened(mask.box, margin, whole) : whole;
  const [width, height] = [x1 - x0, y1 - y0];
  const { canvas, context } = blank(width, height);
  context.drawImage(image, -x0, -y0);
  const pixels = context.getImageData(0, 0, width, height);
  const alpha = window(mask, [x0, y0, x1, y1]);
  const shown = soft ? averaged(alpha, width, height) : alpha;
  shown.forEach((part, at) => (pixels.data[4 * at + 3] *= part));
  context.putImageData(pixels, 0, 0);
  if (background === null) return canvas;
  const behind = blank(width, height);
  behind.context.fillStyle = background;
  behind.context.fillRect(0, 0, width, height);
  behind.context.drawImage(canvas, 0, 0);
  return behind.canvas;
}

/** A canvas ignores what is no color, and keeps the one that it has. */
function isColor(text: string): boolean {
  const { context } = blank(1, 1);
  const [one, other] = ["#000", "#fff"].map((before) => {
    context.fillStyle = before;
    context.fillStyle = text;
    return context.fillStyle;
  });
  return one === other;
}

function blank(width: number, height: number) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (!context)
    throw new Error(
      `A canvas of ${width} x ${height} pixels could not be created. Use a smaller image.`,
    );
  return { canvas, context };
}

function widened([x0, y0, x1, y1]: Box, by: number, [left, top, right, bottom]: Box): Box {
  return [
    Math.max(x0 - by, left),
    Math.max(y0 - by, top),
    Math.min(x1 + by, right),
    Math.min(y1 + by, bottom),
  ];
}

/** The mask within a box: 0 or 1 for each pixel, row by row. */
function window(mask: Mask, [x0, y0, x1, y1]: Box): Float32Array {
  const inside = mask.toArray();
  const out = new Float32Array((x1 - x0) * (y1 - y0));
  for (let y = y0, at = 0; y < y1; y++) {
    for (let x = x0; x < x1; x++, at++) out[at] = inside[y * mask.width + x];
  }
  return out;
}

/** The mean of each pixel and its eight neighbors, by rows and then by columns; borders repeat. */
function averaged(values: Float32Array, width: number, height: number): Float32Array {
  const along = (from: Float32Array, step: number, size: number, place: (at: number) => number) =>
    from.map((value, at) => {
      const before = place(at) > 0 ? from[at - step] : value;
      const after = place(at) < size - 1 ? from[at + step] : value;
      return (before + value + after) / 3;
    });
  const rows = along(values, 1, width, (at) => at % width);
  return along(rows, width, height, (at) => Math.floor(at / width));
}
