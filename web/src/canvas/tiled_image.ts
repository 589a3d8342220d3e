/** The image as tiles at halving sizes, so that any zoom draws about one screen of pixels. */

import type { Size } from "../model/geometry";
import type { View } from "./view";

const TILE = 1024;
const SMOOTH = 4; // screen pixels of one of the image up to which it is drawn smoothly
const MOST_PIXELS = 268_000_000; // of a bitmap in Chromium

interface Tile {
  x: number; // in pixels of its level
  y: number;
  bitmap: ImageBitmap;
}

interface Level {
  factor: number; // image pixels of one of its pixels
  tiles: Tile[];
}

export class TiledImage {
  private constructor(
    readonly hw: Size,
    private readonly levels: Level[],
  ) {}

  /** Decode an image. Throws with a text for the user. */
  static async open(blob: Blob): Promise<TiledImage> {
    const options: ImageBitmapOptions = { imageOrientation: "from-image" };
    let bitmap: ImageBitmap = await createImageBitmap(blob, options).catch(() => {
      throw new Error(
        `The image cannot be shown. It is corrupted, its format is not supported, or ` +
          `it has more than ` +
          `${MOST_PIXELS / 1e6} megapixels. Save it as JPEG or PNG, or split it into parts.`,
      );
    });
    const hw: Size = [bitmap.height, bitmap.width];
    const levels: Level[] = [];
    for (let factor = 1; ; factor *= 2) {
      levels.push({ factor, tiles: await cut(bitmap) });
      const { width, height } = bitmap;
      if (Math.max(width, height) <= TILE) break;
      const smaller: ImageBitmap = await createImageBitmap(bitmap, {
        resizeWidth: Math.ceil(width / 2),
        resizeHeight: Math.ceil(height / 2),
        resizeQuality: "medium",
      });
      bitmap.close();
      bitmap = smaller;
    }
    bitmap.close();
    return new TiledImage(hw, levels);
  }

  draw(context: CanvasRenderingContext2D, view: View, ratio: number): void {
    const scale = view.scale * ratio;
    const level = [...this.levels].reverse().find(({ factor }) => factor * scale <= 1);
    const { factor, tiles } = level ?? this.levels[0];
    const [height, width] = this.hw;
    context.imageSmoothingEnabled = view.scale <= SMOOTH; // beyond, pixels are squares
    context.imageSmoothingQuality = "high";
    for (const { x, y, bitmap } of tiles) {
      const left = Math.round((view.x + x * factor * view.scale) * ratio);
      const top = Math.round((view.y + y * factor * view.scaleY) * ratio);
      const farX = Math.min(width, (x + bitmap.width) * factor);
      const farY = Math.min(height, (y + bitmap.height) * factor);
      const right = Math.round((view.x + farX * view.scale) * ratio);
      const bottom = Math.round((view.y + farY * view.scaleY) * ratio);
      const visible = right > 0 && bottom > 0 && left < context.canvas.width;
      if (!visible || top >= context.canvas.height) continue;
      context.drawImage(bitmap, left, top, right - left, bottom - top);
    }
  }

  close(): void {
    for (const { tiles } of this.levels) for (const tile of tiles) tile.bitmap.close();
  }
}

async function cut(bitmap: ImageBitmap): Promise<Tile[]> {
  const tiles: Tile[] = [];
  for (let y = 0; y < bitmap.height; y += TILE) {
    for (let x = 0; x < bitmap.width; x += TILE) {
      const width = Math.min(TILE, bitmap.width - x);
      const height = Math.min(TILE, bitmap.height - y);
      tiles.push({ x, y, bitmap: await createImageBitmap(bitmap, x, y, width, height) });
    }
  }
  return tiles;
}
