/** The scale bar in the image's corner, and the fields that say how large a pixel is. */

import type { Stage } from "../canvas/stage";
import { scaleBar } from "../canvas/scalebar";
import type { Session } from "../state/session";
import { h, select, setText } from "./dom";

const MOST = 160; // screen pixels
const UNITS = ["nm", "µm", "mm", "cm", "m"];

/** `stage` tells when the image is drawn anew. */
export function ruler(session: Session, stage: Stage): HTMLElement {
  const line = h("i", {});
  const text = h("span", {});
  const element = h("div", { class: "ruler", hidden: true }, text, line);
  stage.imageDrawn = () => {
    const { editor, display, calibration, view } = session;
    const { pixel } = calibration;
    element.hidden = !editor || !display.bar || !pixel;
    if (!pixel) return;
    const bar = scaleBar(pixel, view.scale, Math.min(MOST, view.width / 3));
    line.style.width = `${bar.width}px`;
    setText(text, bar.text);
  };
  return element;
}

/** Where the file says how large a pixel is, the fields show that and cannot be changed. */
export function pixelFields(session: Session): HTMLElement {
  const size = h("input", {
    class: "label share",
    type: "number",
    min: "0",
    step: "any",
    "aria-label": "Pixel size",
  });
  const options = UNITS.map((name) => [name, name]);
  const unit = select({ "aria-label": "Unit of the pixel size" }, options);
  unit.value = "µm";
  const changed = () => {
    const value = Number(size.value);
    session.calibration.set(value > 0 ? { size: value, unit: unit.value } : null);
    session.redraw();
  };
  size.addEventListener("change", changed);
  unit.addEventListener("change", changed);
  session.watchers.push(() => {
    const { ofFile, pixel } = session.calibration;
    size.disabled = unit.disabled = ofFile !== null;
    size.title = ofFile
      ? "Read from the image file"
      : "Used for images whose file has no pixel size";
    if (document.activeElement === size || document.activeElement === unit) return;
    const known = pixel ? String(Number(pixel.size.toPrecision(6))) : "";
    if (size.value !== known) size.value = known;
    if (pixel && unit.value !== pixel.unit) {
      if (!UNITS.includes(pixel.unit)) unit.append(h("option", {}, pixel.unit));
      unit.value = pixel.unit;
    }
  });
  return h("div", { class: "pixel" }, h("span", {}, "Pixel"), size, unit);
}
