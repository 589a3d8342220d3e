/** What the page of a scan has besides a video's: two more planes, window, measures, export. */

import { addLayers, onceAFrame } from "../canvas/layers";
import { drawGuides } from "../canvas/guides";
import { drawFound } from "../canvas/videostage";
import { View, placeIn } from "../canvas/view";
import type { VolumeWork } from "../state/volumework";
import { AXES, type Axis, type VolumeWish } from "../store/volumes";
import { dialog, exportForm, formatChoice, saidLine, type Formats } from "./dialogs";
import { h, link, setText } from "./dom";
import { download } from "./export";
import { table } from "./figures";
import type { Extras } from "./video";
import { namedObjects } from "./videoexport";
import { of } from "./videokeys";

const FORMATS: Formats = [
  [".nii.gz", "NIfTI", "label map in the geometry of the scan; voxel values are object numbers"],
  [".seg.nrrd", "Slicer (.seg.nrrd)", "segmentation with the names and colors of the objects"],
  [".dcm", "DICOM SEG", "segmentation that references the slices of the series"],
  [".rtstruct.dcm", "RTSTRUCT", "contours that reference the slices of the series"],
  [".csv", "Table (CSV)", "volume, diameter and largest slice of each object"],
];
const MOUSE: [string, string][] = [
  ["Click", "Foreground click"],
  ["Shift + click, right click", "Background click"],
  ["Drag", "Use the selected tool: draw a box, change the window or move the slice"],
  ["Wheel", "Change the slice"],
  ["Ctrl + wheel", "Zoom at the pointer"],
  ["Click in a small view", "Go to this position"],
];

export const scanExtras =
  (work: VolumeWork) =>
  (back: () => void): Extras => {
    const planes = h("div", {
      class: "planes-beside",
      role: "group",
      "aria-label": "Other planes",
    });
    const slots = [0, 1].map((slot) => new Beside(work, slot));
    planes.append(...slots.map(({ element }) => element));
    work.drawBeside = () => slots.forEach((slot) => slot.draw());
    work.watchers.push(() => slots.forEach((slot) => slot.draw()));
    const turn = (axis: Axis) => () => void work.turn(axis);
    const measures = () => void measuresDialog(work);
    const drag = () => {
      work.toolName = "window";
      work.changed();
      work.redraw();
    };
    return {
      beside: [planes],
      card: windowCard(work, measures, back),
      export: () => exportDialog(work),
      commands: [
        ...([0, 1, 2] as const).map((axis) =>
          of("View", `Slices along ${AXES[axis]}`, turn(axis), AXES[axis].toUpperCase()),
        ),
        of("View", "Change level and width by dragging", drag, "W"),
        of("Page", "Measurements", measures, "M"),
      ],
      mouse: MOUSE,
    };
  };

/** One of the two planes beside the slice that is shown large. */
class Beside {
  readonly element: HTMLButtonElement;
  private readonly view = new View();
  private readonly canvases: HTMLCanvasElement[];
  private readonly name = h("span", { class: "plane-name" });
  readonly draw = onceAFrame(() => this.drawNow());

  constructor(
    private readonly work: VolumeWork,
    private readonly slot: number,
  ) {
    this.element = h("button", { class: "plane-beside", type: "button" });
    const resized = () => {
      this.view.hw = [0, 0]; // fitted again
      this.draw();
    };
    this.canvases = addLayers(this.element, this.view, ["image", "masks", "over"], resized);
    this.element.append(this.name);
    this.element.addEventListener("click", (event) => this.press(event));
    this.element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  private get axis(): Axis {
    return this.work.sides(this.work.axis)[this.slot];
  }

  /** The mouse goes to a place, the keyboard has the plane shown large. */
  private press(event: MouseEvent): void {
    if (!event.detail) return void this.work.turn(this.axis);
    this.work.goTo(this.axis, this.view.toImage(placeIn(this.element, event)));
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const { work, axis } = this;
    const slice = work.at[axis] + Math.sign(event.deltaY);
    if (slice < 0 || slice >= work.scan.shape[axis]) return;
    work.at[axis] = slice;
    work.refresh();
  }

  private drawNow(): void {
    const { work, view, axis } = this;
    const plane = work.beside[axis];
    if (!plane || work.closed) return;
    view.take(plane.image.hw, work.tallAt(plane.frame));
    const [image, masks, over] = this.canvases.map((canvas) => canvas.getContext("2d")!);
    for (const context of [image, over]) context.clearRect(0, 0, view.width, view.height);
    plane.image.draw(image, view, 1);
    drawFound({ context: masks, view }, work, plane.frame);
    drawGuides({ context: over, view }, work.linesAt(plane.frame));
    const [left, right, top, bottom] = work.letters(axis);
    const name = `${work.label(plane.frame)} · ${left}–${right}, ${top}–${bottom}`;
    if (this.name.textContent === name) return;
    this.name.textContent = name;
    const does = "click to go to this position, Enter to enlarge";
    this.element.setAttribute("aria-label", `${work.spoken(plane.frame)}: ${does}`);
  }
}

/** Level and width as numbers, and what the model sees. */
function windowCard(work: VolumeWork, measures: () => void, back: () => void): HTMLElement {
  const field = (name: string, place: 0 | 1) => {
    const input = h("input", { class: "label", type: "number", step: "any", "aria-label": name });
    input.addEventListener("change", () => {
      const wanted = [...work.window] as [number, number];
      wanted[place] = Number(input.value);
      if (wanted[1] > 0) void work.show(wanted);
      else work.say("The window width must be greater than 0.");
      work.changed();
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape" || event.key === "Enter") setTimeout(back);
    });
    return h("label", {}, name, input);
  };
  const fields = [field("Level", 0), field("Width", 1)];
  const show = () => void work.show([...work.scan.modelWindow]);
  const model = link("Show the window of the model input", show);
  const told = h("p", { class: "dim small" });
  const table = link("Measurements (M)", measures);
  work.watchers.push(() => {
    fields.forEach((label, i) => {
      const input = label.querySelector("input")!;
      if (document.activeElement !== input) input.value = String(work.window[i]);
    });
    const { modelWindow } = work.scan;
    const [level, width] = modelWindow.map((one) => Number(one.toPrecision(6)));
    const text = work.tracks.objects.length
      ? `Window of the model input: level ${level}, width ${width}.`
      : "The first click also sets the window of the model input to this window.";
    setText(told, text);
    model.hidden = modelWindow.join() === work.window.join();
    table.hidden = !work.tracks.objects.length;
  });
  return h(
    "section",
    { class: "card window-card", "aria-label": "Window" },
    h("h2", {}, "Window"),
    h("div", { class: "window-fields" }, ...fields),
    told,
    model,
    table,
  );
}

async function measuresDialog(work: VolumeWork): Promise<void> {
  if (!work.tracks.objects.length) return work.say("No objects to measure. Click an object first.");
  try {
    const rows = await work.scan.measures();
    const heads = ["Object", "ml", "Largest area, mm²", "Diameter, mm", "Slice (z)"];
    const lines = rows.map(({ label, volume_ml, area_mm2, diameter_mm, slice }) => {
      const values = [volume_ml, area_mm2, diameter_mm].map((value) => value.toPrecision(4));
      return { name: work.nameOf(label), cells: [...values, String(slice)] };
    });
    const note = "anymask is not a medical device. Check all results.";
    dialog("Measurements", table(heads, lines), h("p", { class: "dim small" }, note));
  } catch (error) {
    work.say((error as Error).message);
  }
}

function exportDialog(work: VolumeWork): void {
  const offered = FORMATS.filter(([ending]) => work.scan.state.endings.includes(ending));
  const { format, row } = formatChoice("scan-format", offered);
  const said = saidLine();
  const start = () => void write(work, format.value as VolumeWish["ending"], said);
  if (work.left > 0)
    row[1].append(
      h("p", { class: "dim small" }, "Tracking is not complete: some slices have no masks yet."),
    );
  dialog("Export", exportForm(start, ...row), said);
}

async function write(
  work: VolumeWork,
  ending: VolumeWish["ending"],
  said: HTMLElement,
): Promise<void> {
  said.textContent = "Writing …";
  try {
    const objects = namedObjects(work);
    const title = `${work.title.replace(/\.(nii|gz|nrrd|mg[hz]|tiff?|zip|dcm)\b/gi, "")}-labels`;
    const { name, blob } = await work.scan.write({ ending, title, objects });
    download(name, blob);
    said.textContent = `Downloaded ${name}.`;
  } catch (error) {
    said.textContent = (error as Error).message;
  }
}
