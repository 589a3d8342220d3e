/** Where the image lies on the screen: screen = image * scale + offset, in CSS pixels. */

import { clamp, type Size, type XY } from "../model/geometry";

const MOST = 64; // screen pixels of one image pixel
const MARGIN = 24;
const CONTEXT = 2.4; // sides of what is shown around a box, in the box's own
const CLOSE = 4; // screen pixels of an image pixel at most, for a box: as far as it is smooth

export class View {
  scale = 1;
  x = 0;
  y = 0;
  width = 1;
  height = 1;
  hw: Size = [1, 1];
  tall = 1; // height of a pixel, in its widths: slices of a scan

  /** Screen pixels of the height of an image pixel; `scale` of its width. */
  get scaleY(): number {
    return this.scale * this.tall;
  }

  /** The whole image in the middle. */
  fit(): void {
    const [height, width] = this.hw;
    this.scale = this.fitting();
    this.x = (this.width - width * this.scale) / 2;
    this.y = (this.height - height * this.scaleY) / 2;
  }

  /** Another image; one of another shape is shown whole. */
  take(hw: Size, tall: number): void {
    if (hw.join() === this.hw.join() && tall === this.tall) return;
    this.hw = hw;
    this.tall = tall;
    this.fit();
  }

  /** Another size of the screen; an image that was seen whole is so again. */
  resize(width: number, height: number): void {
    const whole = this.width < 2 || this.scale === this.fitting();
    this.width = width;
    this.height = height;
    if (whole) this.fit();
  }

  /** `below`: screen pixels at the bottom that something lies over. */
  fitting(below = 0): number {
    const [height, width] = this.hw;
    const across = (this.width - 2 * MARGIN) / width;
    const down = (this.height - below - 2 * MARGIN) / (height * this.tall);
    return Math.max(1e-4, Math.min(across, down, 8));
  }

  /** One image pixel on `scale` screen pixels, a place of the screen staying where it is. */
  zoomTo(scale: number, at: XY = [this.width / 2, this.height / 2]): void {
    const [x, y] = this.toImage(at);
    this.scale = Math.min(MOST, Math.max(this.fitting() / 2, scale));
    this.x = at[0] - x * this.scale;
    this.y = at[1] - y * this.scaleY;
    this.hold();
  }

  /** Zoom as the wheel is turned, a place of the screen staying where it is. */
  zoomBy(event: WheelEvent, at: XY): void {
    this.zoomTo(this.scale * Math.exp(-turnOf(event) * 0.0016), at);
  }

  pan(dx: number, dy: number): void {
    this.x += dx;
    this.y += dy;
    this.hold();
  }

  /** A box of the image, large, in the middle, but never with room beside the image to spare. */
  show([x, y, width, height]: readonly number[], below = 0): void {
    const room = this.height - below;
    const large = Math.min(this.width / width, room / height) / CONTEXT;
    const scale = Math.max(this.fitting(below), Math.min(large, CLOSE));
    const [rows, columns] = this.hw;
    this.scale = scale;
    this.x = placed(this.width / 2 - (x + width / 2) * scale, columns * scale, this.width);
    this.y = placed(room / 2 - (y + height / 2) * scale, rows * scale, room);
  }

  /** Some of the image always stays on the screen. */
  private hold(): void {
    const [height, width] = this.hw;
    const edge = 60;
    this.x = clamp(this.x, edge - width * this.scale, this.width - edge);
    this.y = clamp(this.y, edge - height * this.scaleY, this.height - edge);
  }

  /** A place of the image (null: the middle of the screen), moved by screen pixels within it. */
  moved(from: XY | null, dx: number, dy: number): XY {
    const [x, y] = from ?? this.toImage([this.width / 2, this.height / 2]);
    const [height, width] = this.hw;
    return [
      clamp(x + dx / this.scale, 0.5, width - 0.5),
      clamp(y + dy / this.scaleY, 0.5, height - 0.5),
    ];
  }

  toImage([x, y]: XY): XY {
    return [(x - this.x) / this.scale, (y - this.y) / this.scaleY];
  }

  toScreen([x, y]: XY): XY {
    return [x * this.scale + this.x, y * this.scaleY + this.y];
  }
}

/** How far a wheel is turned, in pixels. */
export const turnOf = ({ deltaY, deltaMode }: WheelEvent, delta = deltaY) =>
  delta * (deltaMode === 1 ? 16 : 1);

/** Where a pointer is in an element, in CSS pixels. */
export function placeIn(element: HTMLElement, event: MouseEvent): XY {
  const { left, top } = element.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top];
}

/** A canvas, and how the image lies on it. */
export interface Surface {
  context: CanvasRenderingContext2D;
  view: View;
}

/** Where an image of that length begins, as near as possible to the place that is wanted. */
function placed(wanted: number, length: number, room: number): number {
  if (length + 2 * MARGIN <= room) return (room - length) / 2;
  return Math.min(MARGIN, Math.max(room - MARGIN - length, wanted));
}

/** For each of `count` screen pixels from `from` on: the image's pixel there, or -1. */
export function samples(
  from: number,
  count: number,
  offset: number,
  scale: number,
  full: number,
): Int32Array {
  const out = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const place = Math.floor((from + i + 0.5 - offset) / scale);
    out[i] = place >= 0 && place < full ? place : -1;
  }
  return out;
}
