/** The dialog of a video's exports. */

import type { VideoWork } from "../state/videowork";
import { dialog } from "./dialogs";
import { h } from "./dom";
import { download } from "./export";

const FORMATS: [name: string, title: string, about: string][] = [
  ["film", "Video", "MP4 with the masks drawn on it, with the original's times and sound"],
  ["sav", "SA-V", "one JSON: the run lengths of every object in every frame"],
  ["davis", "DAVIS", "a ZIP of palette PNGs, whose values are the objects' numbers"],
  ["coco", "COCO", "one JSON with run lengths and names; an image is a frame"],
  ["jsonl", "Lines of JSON", "a line a frame: run lengths, scores, states, doubts"],
];

export function exportVideoDialog(videoWork: VideoWork): void {
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
  dialog("Export", form, said);
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
      format,
      title,
      objects,
    });
    download(name, blob);
    said.textContent = `${name} is with your downloads.`;
  } catch (error) {
    said.textContent = (error as Error).message;
  }
}
