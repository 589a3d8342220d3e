/** The dialog of a video's exports. */

import type { VideoWork } from "../state/videowork";
import { dialog } from "./dialogs";
import { button, h, link } from "./dom";
import type { VideoWish } from "../store/videos";
import { download } from "./export";

const FORMATS: [name: string, title: string, about: string][] = [
  ["video", "Video", "a video file with the timing and sound of the original"],
  ["sav", "SA-V", "one JSON file with the RLE mask of every object in every frame"],
  ["davis", "DAVIS", "ZIP file with one palette PNG per frame; pixel values are object numbers"],
  ["coco", "COCO", "one JSON file with RLE masks and classes; each frame is an image"],
  ["jsonl", "JSON Lines", "one line per frame, with RLE masks, scores, states and warnings"],
];

const STYLES: [name: string, title: string][] = [
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
  const choice = (id: string, from: string[][]) => {
    const options = from.map(([name, title]) => h("option", { value: name }, title));
    return h("select", { class: "modes", id }, ...options);
  };
  const row = (id: string, title: string) => h("label", { for: id }, title);
  const format = choice("video-format", FORMATS);
  const style = choice("video-style", STYLES);
  const color = h("input", { type: "color", value: "#000000", id: "video-color" });
  const about = h("p", { class: "dim small" });
  const [styleRow, colorRow] = [row(style.id, "Style"), row(color.id, "Color")];
  const tell = () => {
    about.textContent = FORMATS.find(([name]) => name === format.value)![2];
    styleRow.hidden = style.hidden = format.value !== "video";
    colorRow.hidden = color.hidden = style.hidden || !style.value.endsWith("color");
  };
  format.addEventListener("change", tell);
  style.addEventListener("change", tell);
  tell();
  const left = videoWork.left;
  const warning =
    left > 0 &&
    h(
      "p",
      { class: "dim small" },
      `${left} frames are not tracked yet and are exported without masks.`,
    );
  const said = h("p", { class: "said", role: "status" });
  const form = h(
    "form",
    { class: "export" },
    row(format.id, "Format"),
    h("div", {}, format, about, warning),
    styleRow,
    style,
    colorRow,
    color,
    h("span", {}),
    h("button", { class: "button primary large", type: "submit" }, "Export"),
  );
  let leaving: AbortController | null = null; // of the export under way
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (leaving) return;
    leaving = new AbortController();
    const wish = { format: format.value, style: style.value, color: color.value };
    void run(videoWork, wish as Wish, said, leaving).finally(() => (leaving = null));
  });
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
    const objects = videoWork.objects.map(({ number, name, color }) => ({
      object: number,
      name,
      color,
    }));
    const title = videoWork.title.replace(/\.\w+$/, "");
    const full = { ...wish, title, objects };
    const { name, blob } = await videos.export(facts.name, full, leaving.signal);
    download(name, blob);
    said.textContent = `Downloaded ${name}.`;
  } catch (error) {
    said.textContent = leaving.signal.aborted ? "Stopped." : (error as Error).message;
  } finally {
    clearInterval(clock);
  }
}
