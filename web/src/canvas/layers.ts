/** The canvases of a stage, and when they are drawn. */

import type { View } from "./view";

/**
 * Canvases by their names, the first at the bottom. They and the view have the element's size.
 *
 * resized  called when that has changed
 * ratio    pixels of a canvas for each of CSS
 */
export function addLayers(
  element: HTMLElement,
  view: View,
  names: readonly string[],
  resized: () => void,
  ratio: (name: string) => number = () => 1,
): HTMLCanvasElement[] {
  const canvases = names.map((name) => {
    const canvas = document.createElement("canvas");
    canvas.className = `layer layer-${name}`;
    canvas.setAttribute("aria-hidden", "true");
    element.append(canvas);
    return canvas;
  });
  const observer = new ResizeObserver(() => {
    const { clientWidth, clientHeight } = element;
    if (!clientWidth || !clientHeight) return; // out of the page
    view.resize(clientWidth, clientHeight);
    canvases.forEach((canvas, i) => {
      canvas.width = Math.round(clientWidth * ratio(names[i]));
      canvas.height = Math.round(clientHeight * ratio(names[i]));
    });
    resized();
  });
  observer.observe(element);
  return canvases;
}

/** What is asked for is done in the next frame of the screen, however often it is asked for. */
export function onceAFrame(run: () => void): () => void {
  let frame = 0;
  const due = () => {
    frame = 0;
    run();
  };
  return () => {
    frame ||= requestAnimationFrame(due);
  };
}
