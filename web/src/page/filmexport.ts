/** The dialog of a video's exports. */

import type { Film } from "../state/film";
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

export function exportFilmDialog(film: Film): void {
  const format = h(
    "select",
    { class: "modes", id: "film-format" },
    ...FORMATS.map(([name, title]) => h("option", { value: name }, title)),
  );
  const about = h("p", { class: "dim small" });
  const tell = () => (about.textContent = FORMATS.find(([name]) => name === format.value)![2]);
  format.addEventListener("change", tell);
  tell();
  const left = film.left;
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
    h("label", { for: "film-format" }, "Format"),
    h("div", {}, format, about, warning),
    h("span", {}),
    h("button", { class: "button primary large", type: "submit" }, "Export"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(film, format.value, said);
  });
  dialog("Export", form, said);
}

async function run(film: Film, format: string, said: HTMLElement): Promise<void> {
  said.textContent = "Writing …";
  try {
    const objects = film.objects.map(({ number, name, colour }) => ({
      object: number,
      name,
      colour,
    }));
    const title = film.title.replace(/\.\w+$/, "");
    const { name, blob } = await film.videos.export(film.facts.name, { format, title, objects });
    download(name, blob);
    said.textContent = `${name} is with your downloads.`;
  } catch (error) {
    said.textContent = (error as Error).message;
  }
}
