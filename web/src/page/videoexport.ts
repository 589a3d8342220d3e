/** The dialog of a video's exports. */

import type { VideoWork } from "../state/videowork";
import { dialog, exportForm, formatChoice, saidLine, type Formats } from "./dialogs";
import { button, h, link, select } from "./dom";
import type { VideoWish } from "../store/videos";
import { download } from "./export";

const FORMATS: Formats = [
  ["video", "Video", "a video file with the timing and sound of the original"],
  ["sav", "SA-V", "one JSON file with the RLE mask of every object in every frame"],
  ["davis", "DAVIS", "ZIP file with one palette PNG per frame; pixel values are object numbers"],
  ["coco", "COCO", "one JSON file with RLE masks and classes; each frame is an image"],
  ["jsonl", "JSON Lines", "one line per frame, with RLE masks, scores, states and warnings"],
];

const STYLES = [
  ["overlay", "Video with masks overlaid (MP4)"],
  ["masks", "Masks on black (MP4)"],
  ["blur", "Objects blurred (MP4)"],
  ["color", "Objects in one color (MP4)"],
  ["background-blur", "Background blurred (MP4)"],
  ["background-color", "Background in one color (MP4)"],
  ["cutout", "Objects on a transparent background (WebM)"],
];
const LOOK_MS = 500; // between two looks at how far the file is

/** keep  keeps video and objects in the project; null: there is none, or it has them */
export function exportVideoDialog(videoWork: VideoWork, keep: (() => void) | null): void {
  const { format, row } = formatChoice("video-format", FORMATS);
  const style = select({ id: "video-style" }, STYLES);
  const color = h("input", { type: "color", value: "#000000", id: "video-color" });
  const styleRow = h("label", { for: style.id }, "Style");
  const colorRow = h("label", { for: color.id }, "Color");
  const tell = () => {
    styleRow.hidden = style.hidden = format.value !== "video";
    colorRow.hidden = color.hidden = style.hidden || !style.value.endsWith("color");
  };
  format.addEventListener("change", tell);
  style.addEventListener("change", tell);
  tell();
  const { left } = videoWork;
  const warning = `${left} frames are not tracked yet and are exported without masks.`;
  if (left > 0) row[1].append(h("p", { class: "dim small" }, warning));
  const said = saidLine();
  let leaving: AbortController | null = null; // of the export under way
  const start = () => {
    if (leaving) return;
    leaving = new AbortController();
    const wish = { format: format.value, style: style.value, color: color.value };
    void run(videoWork, wish as Wish, said, leaving).finally(() => (leaving = null));
  };
  const form = exportForm(start, ...row, styleRow, style, colorRow, color);
  const element = dialog("Export", form, said);
  element.addEventListener("close", () => leaving?.abort());
  if (!keep) return;
  const save = button("Save to project", "C", () => {
    element.close();
    keep();
  });
  const why = "Or save the video in the project folder and its objects as tracks to review.";
  element.append(h("p", { class: "dim small" }, why), save);
}

/** The objects as an export takes them. */
export const namedObjects = ({ objects }: VideoWork) =>
  objects.map(({ number, name, color }) => ({ object: number, name, color }));

type Wish = Pick<VideoWish, "format" | "style" | "color">;

/** Have the file written, telling how far it is, and download it. */
async function run(
  videoWork: VideoWork,
  wish: Wish,
  said: HTMLElement,
  leaving: AbortController,
): Promise<void> {
  const far = h("progress", { max: videoWork.length, value: 0, "aria-label": "Frames written" });
  const stop = link("Stop", () => leaving.abort());
  said.replaceChildren("Writing … ", far, " ", stop);
  const { facts, videos } = videoWork;
  const style = () =>
    void videos.exported(facts.name).then(
      (done) => (far.value = done),
      () => {},
    );
  const clock = setInterval(style, LOOK_MS);
  try {
    const title = videoWork.title.replace(/\.\w+$/, "");
    const full = { ...wish, title, objects: namedObjects(videoWork) };
    const { name, blob } = await videos.export(facts.name, full, leaving.signal);
    download(name, blob);
    said.textContent = `Downloaded ${name}.`;
  } catch (error) {
    said.textContent = leaving.signal.aborted ? "Stopped." : (error as Error).message;
  } finally {
    clearInterval(clock);
  }
}
