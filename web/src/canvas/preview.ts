/** The mask under the pointer, on a canvas of its own: a hover changes its box and nothing else. */

import type { Patch } from "../masks/patch";
import { paintPatch, type Paint } from "./shapes";
import type { View } from "./view";

export class PreviewLayer {
  private box: [x: number, y: number, width: number, height: number] = [0, 0, 0, 0];

  constructor(private readonly canvas: HTMLCanvasElement) {}

  show(patch: Patch | null, view: View, paint: Paint): void {
    const context = this.canvas.getContext("2d")!;
    context.clearRect(...this.box);
    const painted = patch && paintPatch(view, patch, paint);
    this.box = [0, 0, 0, 0];
    if (!painted) return;
    const { image, left, top } = painted;
    context.putImageData(image, left, top);
    this.box = [left, top, image.width, image.height];
  }
}
