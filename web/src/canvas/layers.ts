/** The canvases of a stage: names in, one canvas for each out, the first at the bottom. */
export function addLayers(element: HTMLElement, names: readonly string[]): HTMLCanvasElement[] {
  return names.map((name) => {
    const canvas = document.createElement("canvas");
    canvas.className = `layer layer-${name}`;
    canvas.setAttribute("aria-hidden", "true");
    element.append(canvas);
    return canvas;
  });
}
