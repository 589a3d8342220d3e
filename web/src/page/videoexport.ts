/** The dialog of a video's exports. */

import type { VideoWork } from "../state/videowork";
import { dialog } from "./dialogs";
import { h } from "./dom";
import type { VideoWish } from "../store/videos";
import { download } from "./export";

const FORMATS: [name: string, title: string, about: string][] = [
  ["film", "Video", "with the original's times and sound, upright: MP4, a cut-out WebM"],
  ["sav", "SA-V", "one JSON: the run lengths of every object in every frame"],
  ["davis", "DAVIS", "a ZIP of palette PNGs, whose values are the objects' numbers"],
  ["coco", "COCO", "one JSON with run lengths and names; an image is a frame"],
  ["jsonl", "Lines of JSON", "a line a frame: run lengths, scores, states, doubts"],
];

const LOOKS: [name: string, title: string][] = [
  ["overlay", "Masks over the frames"],
  ["masks", "Masks alone, on black"],
  ["blur", "Objects out of focus"],
  ["colour", "Objects in one colour"],
  ["background-blur", "Background out of focus"],
  ["background-colour", "Background in one colour"],
  ["cutout", "Objects cut out, with alpha"],
];
const LOOK_MS = 500; // between two looks at how far the file is

/** keep  keeps video and objects in the project; null: there is none, or it has them */
export function exportVideoDialog(videoWork: VideoWork, keep: (() => void) | null): void {
  const format = h(
    "select",
    { class: "modes", id: "video-format" },
    ...FORMATS.map(([name, title]) => h("option", { value: name }, title)),
  );
  const looks = LOOKS.map(([name, title]) => h("option", { value: name }, title));
  const look = h("select", { class: "modes", "aria-label": "Look of the video" }, ...looks);
  const colour = h("input", { type: "color", value: "#000000", "aria-label": "Its colour" });
  const about = h("p", { class: "dim small" });
  const tell = () => {
    about.textContent = FORMATS.find(([name]) => name === format.value)![2];
    look.hidden = format.value !== "film";
    colour.hidden = look.hidden || !look.value.endsWith("colour");
  };
  format.addEventListener("change", tell);
  look.addEventListener("change", tell);
  tell();
  const left = videoWork.left;
  const warning =
    left > 0 &&
    h(
      "p",
      { class: "dim small" },
      `${left} frames are not followed yet: they leave without masks.`,
    );
  const said = h("p", { class: "said", role: "status" });
  const form = h(
    "form",
    { class: "export" },
    h("label", { for: "video-format" }, "Format"),
    h("div", {}, format, " ", look, " ", colour, about, warning),
    h("span", {}),
    h("button", { class: "button primary large", type: "submit" }, "Export"),
  );
  let leaving: AbortController | null = null; // of the export under way
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (leaving) return;
    leaving = new AbortController();
    const wish = { format: format.value, look: look.value, colour: colour.value };
    void run(videoWork, wish as Wish, said, leaving).finally(() => (leaving = null));
  });
  const element = dialog("Export", form, said);
  element.addEventListener("close", () => leaving?.abort());
  if (!keep) return;
  const button = h(
    "button",
    { class: "button", type: "button" },
    "Keep in the project",
    h("kbd", {}, "C"),
  );
  button.addEventListener("click", () => {
    element.close();
    keep();
  });
  const why = "Or store the video in the project's folder, and its objects as tracks to look at.";
  element.append(h("p", { class: "dim small" }, why), button);
}

type Wish = Pick<VideoWish, "format" | "look" | "colour">;

/** Have the file written, telling how far it is, and download it. */
async function run(
  videoWork: VideoWork,
  wish: Wish,
  said: HTMLElement,
  leaving: AbortController,
): Promise<void> {
  const far = h("progress", { max: videoWork.length, value: 0, "aria-label": "Frames written" });
  const stop = h("button", { class: "link", type: "button" }, "Stop");
  stop.addEventListener("click", () => leaving.abort());
  said.replaceChildren("Writing … ", far, " ", stop);
  const { facts, videos } = videoWork;
  const look = () =>
    void videos.exported(facts.name).then(
      (done) => (far.value = done),
      () => {},
    );
  const clock = setInterval(look, LOOK_MS);
  try {
    const objects = videoWork.objects.map(({ number, name, colour }) => ({
      object: number,
      name,
      colour,
    }));
    const title = videoWork.title.replace(/\.\w+$/, "");
    const full = { ...wish, title, objects };
    const { name, blob } = await videos.export(facts.name, full, leaving.signal);
    download(name, blob);
    said.textContent = `${name} is with your downloads.`;
  } catch (error) {
    said.textContent = leaving.signal.aborted ? "Stopped." : (error as Error).message;
  } finally {
    clearInterval(clock);
  }
}
