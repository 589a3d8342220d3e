/**
 * All masks of an image as one map: the number of the topmost mask at every pixel.
 *
 * Drawing looks up one number for each pixel of the screen, so it costs the same for one mask and
 * for thousands, whatever the image's size. The map lies column by column, as run lengths do, so a
 * run is one fill.
 */

import type { Size } from "../model/geometry";
import type { Mask } from "../state/work";
import { rleHas, rleRuns } from "../masks/rle";
import { maskColor, packed, type Palette } from "./colors";
import { samples, type View } from "./view";

export interface Layers {
  masks: boolean;
  proposals: boolean;
  palette: Palette;
  fill: number; // of an accepted mask, 0 to 1
  outline: number; // pixels of the screen
  least: number | null; // score of a proposal that is shown; null: as they came
  only?: ReadonlySet<string> | null; // under review: of other masks only the outlines are shown
}

const MOST = 65_535;
const FILL = { accepted: 1, proposed: 0.48, rejected: 0 }; // of the layer's own
const BESIDE = 0.5; // the edge of a mask beside the one under review
const EDGE = { accepted: 1, proposed: 0.85, rejected: 0 };

export class LabelMap {
  private readonly map: Uint16Array;
  private order: readonly Mask[] = [];
  private readonly fills = new Uint32Array(MOST + 1);
  private readonly edges = new Uint32Array(MOST + 1);
  private outline = 1;
  private shownVisible = new Uint16Array(0);

  constructor(private readonly hw: Size) {
    this.map = new Uint16Array(hw[0] * hw[1]);
  }

  /** Show these masks: proposals below, then the larger ones below the smaller ones. */
  set(masks: readonly Mask[], layers: Layers, hidden: string | null): void {
    this.outline = layers.outline;
    const places = new Map(masks.map((mask, i) => [mask, i]));
    const rank = (mask: Mask) => (mask.state === "proposed" ? 0 : 1);
    const wanted = masks.filter(
      (mask) =>
        mask.key !== hidden &&
        (mask.state === "proposed" ? layers.proposals : layers.masks) &&
        mask.state !== "rejected" &&
        !mask.notes?.hidden,
    );
    const level = ({ notes }: Mask) => notes?.level ?? 0;
    const order = wanted
      .sort((a, b) => rank(a) - rank(b) || level(a) - level(b) || b.area - a.area)
      .slice(-MOST);
    const added = order.length - this.order.length;
    const goesOn = added >= 0 && this.order.every((mask, i) => mask === order[i]);
    if (!goesOn) this.map.fill(0);
    for (let i = goesOn ? this.order.length : 0; i < order.length; i++) this.paint(order[i], i + 1);
    order.forEach((mask, i) => {
      const color = maskColor(mask, places.get(mask)!, layers.palette);
      const beside = layers.only && !layers.only.has(mask.key);
      this.fills[i + 1] = packed(color, beside ? 0 : layers.fill * FILL[mask.state]);
      this.edges[i + 1] = packed(color, beside ? BESIDE : EDGE[mask.state]);
    });
    this.order = order;
  }

  private paint(mask: Mask, value: number): void {
    const { starts, ends } = rleRuns(mask.rle);
    for (let i = 0; i < starts.length; i++) this.map.fill(value, starts[i], ends[i]);
  }

  /** The masks that hold a pixel, the topmost first. */
  at(x: number, y: number): Mask[] {
    const inside = ({ box }: Mask) =>
      x >= box[0] && y >= box[1] && x < box[0] + box[2] && y < box[1] + box[3];
    return this.order.filter((mask) => inside(mask) && rleHas(mask.rle, x, y)).reverse();
  }

  draw(context: CanvasRenderingContext2D, view: View): void {
    const { width, height } = context.canvas;
    const [rows, columns] = this.hw;
    const xs = samples(0, width, view.x, view.scale, columns);
    const ys = samples(0, height, view.y, view.scaleY, rows);
    if (this.shownVisible.length !== width * height)
      this.shownVisible = new Uint16Array(width * height);
    const visible = this.shownVisible;
    for (let x = 0; x < width; x++) {
      const column = xs[x] * rows;
      for (let y = 0, at = x; y < height; y++, at += width) {
        visible[at] = xs[x] < 0 || ys[y] < 0 ? 0 : this.map[column + ys[y]];
      }
    }
    const image = context.createImageData(width, height);
    this.shade(visible, new Uint32Array(image.data.buffer), width);
    context.putImageData(image, 0, 0);
  }

  private shade(visible: Uint16Array, pixels: Uint32Array, width: number): void {
    const { fills, edges, outline } = this;
    for (let at = 0; at < visible.length; at++) {
      const here = visible[at];
      if (!here) continue;
      let edge = false;
      for (let k = 1; k <= outline && !edge; k++) {
        edge =
          here !== visible[at + k] ||
          here !== visible[at - k] ||
          here !== visible[at + k * width] ||
          here !== visible[at - k * width];
      }
      pixels[at] = edge ? edges[here] : fills[here];
    }
  }
}
