/** The dialog of a video's exports. */

import type { VideoWork } from "../state/videowork";
import { dialog } from "./dialogs";
import { h } from "./dom";
import type { VideoWish } from "../store/videos";
import { download } from "./export";

const FORMATS: [name: string, title: string, about: string][] = [
  ["film", "Video", "MP4 with the masks drawn on it, with the original's times and sound"],
  ["sav", "SA-V", "one JSON: the run lengths of every object in every frame"],
  ["davis", "DAVIS", "a ZIP of palette PNGs, whose values are the objects' numbers"],
  ["coco", "COCO", "one JSON with run lengths and names; an image is a frame"],
  ["jsonl", "Lines of JSON", "a line a frame: run lengths, scores, states, doubts"],
];

/** keep  keeps video and objects in the project; null: there is none, or it has them */
export function exportVideoDialog(videoWork: VideoWork, keep: (() => void) | null): void {
  const format = h(
    "select",
    { class: "modes", id: "video-format" },
    ...FORMATS.map(([name, title]) => h("option", { value: name }, title)),
  );
  const about = h("p", { class: "dim small" });
  const tell = () => (about.textContent = FORMATS.find(([name]) => name === format.value)![2]);
  format.addEventListener("change", tell);
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
    h("div", {}, format, about, warning),
    h("span", {}),
    h("button", { class: "button primary large", type: "submit" }, "Export"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(videoWork, format.value, said);
  });
  const element = dialog("Export", form, said);
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

async function run(videoWork: VideoWork, format: string, said: HTMLElement): Promise<void> {
  said.textContent = "Writing …";
  try {
    const objects = videoWork.objects.map(({ number, name, colour }) => ({
      object: number,
      name,
      colour,
    }));
    const title = videoWork.title.replace(/\.\w+$/, "");
    const { name, blob } = await videoWork.videos.export(videoWork.facts.name, {
      format: format as VideoWish["format"],
      title,
      objects,
    });
    download(name, blob);
    said.textContent = `${name} is with your downloads.`;
  } catch (error) {
    said.textContent = (error as Error).message;
  }
}
