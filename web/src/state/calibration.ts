/** How large a pixel is: as the image's file says, else as the user says for the project. */

import type { PixelSize } from "../canvas/scalebar";
import type { Database } from "../store/database";

const ROW = "pixel-size";

export class Calibration {
  ofFile: PixelSize | null = null;
  own: PixelSize | null = null;

  constructor(private readonly db: Database) {}

  get pixel(): PixelSize | null {
    return this.ofFile ?? this.own;
  }

  async open(): Promise<void> {
    this.own = (await this.db.get<{ pixel: PixelSize }>("settings", ROW))?.pixel ?? null;
  }

  /** What holds for every image whose file says nothing; null: nobody knows. */
  set(pixel: PixelSize | null): void {
    this.own = pixel;
    if (pixel) void this.db.keep("settings", { name: ROW, pixel });
    else void this.db.forget("settings", ROW);
  }
}
