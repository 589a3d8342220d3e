/** Crosshair: a horizontal and a vertical line through the pointer, across the whole image. */

import type { XY } from "../model/geometry";
import type { Surface } from "./view";

export function drawGuides({ context, view }: Surface, at: XY): void {
  const [x, y] = view.toScreen(at).map((place) => Math.round(place) + 0.5);
  context.beginPath();
  context.moveTo(x, 0);
  context.lineTo(x, view.height);
  context.moveTo(0, y);
  context.lineTo(view.width, y);
  for (const [color, width] of [
    ["rgb(0 0 0 / 0.5)", 3],
    ["rgb(255 255 255 / 0.9)", 1],
  ] as const) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.stroke();
  }
}
