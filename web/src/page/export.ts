/** The dialog of exports: format, which images, with them or not, splits. */

import { StoreError, type ExportWish } from "../store/store";
import { NAMELESS } from "../export/files";
import type { Session } from "../state/session";
import { dialog, exportForm, formatChoice, saidLine } from "./dialogs";
import { checkbox, h, link } from "./dom";

/** The formats of `anymask convert`, those that are trained on first. */
export const FORMATS: [name: string, title: string, about: string][] = [
  ["yolo", "YOLO", "labels/, images/ and data.yaml for Ultralytics"],
  ["coco", "COCO", "one JSON file with RLE masks, boxes and classes"],
  ["coco-polygon", "COCO (polygons)", "one JSON file with polygons, boxes and classes"],
  ["coco-panoptic", "COCO panoptic", "one JSON file and one PNG per image"],
  ["cvat", "CVAT", "CVAT for images 1.1: one XML file with masks"],
  ["label-studio", "Label Studio", "one JSON file with brush masks"],
  ["label-studio-polygon", "Label Studio (polygons)", "one JSON file with polygons"],
  ["labelme", "labelme", "one JSON file per image, with masks"],
  ["labelme-polygon", "labelme (polygons)", "one JSON file per image, with polygons"],
  ["sa1b", "SA-1B", "one JSON file per image, in the layout of the SA-1B dataset"],
  ["label-png", "Label images (PNG)", "one 16-bit PNG per image: 0 is background, n is mask n"],
  [
    "label-tif",
    "Label images (TIFF)",
    "one TIFF per image for Fiji, napari and QuPath: 0 is background, n is mask n",
  ],
  ["imagej", "ImageJ and Fiji", "one ImageJ ROI set (.zip) per image"],
  ["qupath", "QuPath", "one GeoJSON per image, with classes and their colors"],
  ["csv", "Table (CSV)", "one row per mask: class, area, center, perimeter, axes and more"],
  ["geojson", "GeoJSON", "one GeoJSON file per image, in pixel coordinates"],
  ["svg", "SVG", "one SVG file per image, with masks as paths"],
  ["saco", "SA-Co", "one JSON file with an entry for each phrase of an image, and absent phrases"],
  ["set", "anymask dataset", "the format in which anymask trains and evaluates"],
  ["voc", "PASCAL VOC", "one class PNG and one instance PNG per image, and a list of classes"],
  ["davis", "DAVIS", "for video frames: one palette PNG per frame"],
  ["sav", "SA-V", "for video frames: one JSON file per video"],
];

export function exportDialog(session: Session): void {
  const { store } = session;
  const offered = FORMATS.filter(([name]) => store.formats?.includes(name) ?? true);
  const { format, row } = formatChoice("format", offered);
  const selection = chooseImages(session);
  const images = checkbox({}, "Include the images (required for training)");
  const split = splitChoice();
  const splittable = session.images.filter(({ status }) => status === "done").length >= 3;
  const tell = () => {
    const trains = format.value === "yolo"; // its data.yaml names the images of each split
    images.input.checked = trains;
    split.turn(trains && splittable);
  };
  format.addEventListener("change", tell);
  tell();
  const proposals = checkbox({}, "Include proposals that are not yet accepted");
  const tolerance = h("input", {
    class: "label share",
    type: "number",
    min: 0,
    max: 100,
    step: 0.5,
  });
  tolerance.value = "0.5";
  const said = saidLine();
  let answers: Answers = { force: false, unlabeled: "ask" };
  const wish = (): ExportWish => ({
    ...answers,
    format: format.value,
    only: selection.value(),
    images: images.input.checked,
    split: split.value(),
    tolerance: Number(tolerance.value) || 0,
    proposals: proposals.input.checked,
  });
  const start = () => {
    answers = { force: false, unlabeled: "ask" };
    void run();
  };
  const form = exportForm(
    start,
    ...row,
    h("span", {}, "Images"),
    selection.element,
    h("span", {}, "Dataset"),
    h(
      "div",
      {},
      images.element,
      split.element,
      h("label", { class: "check" }, tolerance, "Outline tolerance in pixels (0: exact)"),
    ),
    h("span", {}),
    h("div", {}, store.kind === "server" && proposals.element),
  );
  const run = async (): Promise<void> => {
    said.textContent = "Writing …";
    try {
      await session.editor?.settled();
      await session.outbox.flush();
      const { name, blob, message } = await session.store.export(wish());
      download(name, blob);
      const lines = message.split("\n");
      const lost = lines.filter((line) => line.startsWith(LOST));
      const short = lines.filter((line) => !lost.includes(line));
      said.replaceChildren([`Downloaded ${name}`, ...short, ...changes(lost, wish())].join(". "));
      if (lost.length)
        said.append(
          h("details", {}, h("summary", {}, DETAILS), ...lost.map((one) => h("p", {}, one))),
        );
    } catch (error) {
      said.replaceChildren((error as Error).message);
      for (const [title, given] of questions(error, wish())) {
        const answer = link(title, () => {
          if (given === null) return setClasses(session, element);
          answers = { ...answers, ...given };
          void run();
        });
        said.append(" ", answer);
      }
      said.querySelector("button")?.focus();
    }
  };
  const element = dialog("Export", form, said);
}

const LOST = "Not kept"; // begins what a server tells that a format does not hold
const DETAILS = "What this format does not keep exactly";

/** What an export changed in the masks, of what a server tells, in words. */
const changes = (lost: string[], { tolerance }: ExportWish): string[] =>
  lost.flatMap((line) => {
    const [, kind, count] = /: (.+) \((\d+) time/.exec(line) ?? [];
    const masks = `${count} ${count === "1" ? "mask" : "masks"} had`;
    if (kind === "exact outlines" && tolerance) return `Outlines are within ${tolerance} pixels`;
    if (kind === "separate parts") return `${masks} several parts, which were joined`;
    return kind === "holes" ? `${masks} holes, which were cut open` : [];
  });

type Answers = Pick<ExportWish, "force" | "unlabeled">;

/** What a person can answer to an export that stopped; null: set the classes first. */
function questions(error: unknown, wish: ExportWish): [string, Partial<Answers> | null][] {
  if (!(error instanceof StoreError)) return [];
  if (error.kind === "unlabeled") {
    return [
      ["Set classes", null],
      ["Skip these masks", { unlabeled: "skip" }],
      [`Export with the class “${NAMELESS}”`, { unlabeled: "object" }],
    ];
  }
  const gated = error.kind === "refused" && wish.proposals && !wish.force;
  return gated ? [["Export anyway", { force: true }]] : [];
}

/** Back to the image: its first mask without a class is selected. */
function setClasses(session: Session, element: HTMLDialogElement): void {
  const { editor } = session;
  element.close();
  const mask = editor?.shown.find(({ label, state }) => label === null && state === "accepted");
  if (!mask) return session.say("All masks of this image have a class. Check the other images.");
  editor!.select(mask.key);
  document.querySelector<HTMLInputElement>(".object .label")?.focus();
}

/** Finished images, or all that have masks; with how many there are. */
function chooseImages(session: Session) {
  const done = session.images.filter((image) => image.status === "done").length;
  const labeled = session.images.filter((image) => image.status === "done" || image.records);
  const one = (value: string, text: string, checked: boolean) => {
    const input = h("input", { type: "radio", name: "only", value, checked });
    return h("label", { class: "check" }, input, text);
  };
  const element = h(
    "div",
    { role: "radiogroup", "aria-label": "Images" },
    one(
      "done",
      `Images marked as done (${done} of ${session.images.length}; D or the tick marks one)`,
      true,
    ),
    one("labeled", `All images with masks, or marked as done (${labeled.length})`, false),
  );
  const value = () =>
    element.querySelector<HTMLInputElement>("input:checked")!.value as ExportWish["only"];
  return { element, value };
}

function splitChoice() {
  const on = checkbox({}, "Split into train, val and test");
  const shares = ["80", "10", "10"].map((value, i) =>
    h("input", {
      class: "label share",
      type: "number",
      min: "0",
      max: "100",
      value,
      "aria-label": `Share of ${["train", "val", "test"][i]}`,
    }),
  );
  const line = h("div", { class: "shares", hidden: true }, ...shares);
  const turn = (whole: boolean) => {
    on.input.checked = whole;
    line.hidden = !whole;
  };
  on.input.addEventListener("change", () => turn(on.input.checked));
  const value = () =>
    on.input.checked ? shares.map((share) => Number(share.value) || 0).join("/") : null;
  return { element: h("div", {}, on.element, line), turn, value };
}

export function download(name: string, blob: Blob): void {
  const link = h("a", { href: URL.createObjectURL(blob), download: name.split("/").at(-1) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
