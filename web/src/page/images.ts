/** The dialog of the images: small images, found by name and by how far they are. */

import { scanFolder } from "../state/folder";
import { hasMasks, type Session } from "../state/session";
import type { ImageEntry } from "../store/store";
import { dialog } from "./dialogs";
import { h, icon, select } from "./dom";

const LISTED = 500; // images in the list at once

type Holds = (image: ImageEntry, gone: ReadonlySet<string>) => boolean;

const STATES: [title: string, holds: Holds][] = [
  ["All images", () => true],
  ["Without masks", (image) => !hasMasks(image)],
  ["With masks, not done", (image) => image.status !== "done" && image.records > 0],
  ["Done", (image) => image.status === "done"],
  ["Missing from the folder", (image, gone) => gone.has(image.id)],
];

export function imagesDialog(session: Session): void {
  const find = h("input", {
    class: "label",
    type: "text",
    placeholder: "Search images",
    autofocus: true,
  });
  find.setAttribute("aria-label", "Search images");
  const state = select({ "aria-label": "Filter images" });
  const count = () => {
    const { value } = state;
    const counts = STATES.map(
      ([, holds]) => session.images.filter((image) => holds(image, session.gone)).length,
    );
    const options = STATES.map(([title], i) =>
      h("option", { value: i }, `${title} (${counts[i]})`),
    );
    state.replaceChildren(...options.filter((_, i) => i < STATES.length - 1 || counts[i] > 0));
    state.value = value || "0";
    if (state.selectedIndex < 0) state.value = "0";
  };
  const list = h("div", { class: "image-list" });
  const element = dialog("Images", h("div", { class: "image-find" }, find, state), list);
  const small = thumbnails(session, list);
  element.addEventListener("close", () => small.disconnect());
  const open = (image: ImageEntry) => {
    element.close();
    void session.open(image.id);
  };
  const found = () => {
    const wanted = find.value.toLowerCase();
    const [, holds] = STATES[Number(state.value)];
    return session.images.filter(
      (one) => holds(one, session.gone) && one.name.toLowerCase().includes(wanted),
    );
  };
  const draw = () => {
    const all = found();
    const here = all.findIndex((image) => image.id === session.images[session.index]?.id);
    const first = Math.max(0, Math.min(here - LISTED / 2, all.length - LISTED));
    const shown = all.slice(first, first + LISTED);
    const more = (count: number, where: string) =>
      count > 0
        ? h("p", { class: "dim small" }, `${count} more ${where}: search to list them`)
        : "";
    list.replaceChildren(
      more(first, "before"),
      ...shown.map((image) => imageLine(session, image, image === all[here], () => open(image))),
      more(all.length - first - shown.length, "after"),
      all.length ? "" : h("p", { class: "dim small" }, "No matching images."),
    );
    for (const line of list.querySelectorAll("[data-image]")) small.observe(line);
    list.querySelector("[aria-current]")?.scrollIntoView({ block: "center" });
  };
  find.addEventListener("input", draw);
  state.addEventListener("change", draw);
  find.addEventListener("keydown", (event) => {
    const [first] = found();
    if (event.key !== "Enter" || !find.value || !first) return;
    event.preventDefault();
    open(first);
  });
  count();
  draw();
  const before = session.images;
  void scanFolder(session).then(() => {
    if (!element.open || (session.images === before && !session.gone.size)) return;
    count();
    draw();
  });
}

/** Fetches the small images of the lines that come into sight. */
function thumbnails(session: Session, list: HTMLElement): IntersectionObserver {
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        void fetchOne(session, target as HTMLElement);
      }
    },
    { root: list, rootMargin: "200px" },
  );
  return observer;
}

async function fetchOne(session: Session, line: HTMLElement): Promise<void> {
  const image = line.querySelector("img")!;
  try {
    const url = URL.createObjectURL(await session.store.thumbnail(line.dataset.image!));
    image.addEventListener("load", () => URL.revokeObjectURL(url));
    image.src = url;
  } catch {
    image.dataset.absent = "true"; // the image itself says why when it is opened
  }
}

function imageLine({ gone }: Session, image: ImageEntry, current: boolean, run: () => void) {
  const masks = image.records === 1 ? "1 mask" : `${image.records} masks`;
  const size = `${image.width} × ${image.height}`;
  return h(
    "button",
    {
      class: "image-line",
      type: "button",
      "aria-current": current ? "true" : null,
      "data-image": image.id,
      onclick: run,
    },
    h("img", { class: "thumb", alt: "", width: 56, height: 42 }),
    image.status === "done" ? icon("check") : h("span", { class: "icon" }),
    h("span", { class: "name" }, image.name),
    h("span", { class: "dim" }, gone.has(image.id) ? "missing" : size),
    h("span", { class: "dim" }, image.records ? masks : ""),
  );
}
