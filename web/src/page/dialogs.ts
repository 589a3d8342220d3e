/** Dialogs: the list of photos, export, the report. */

import type { ImageEntry } from "../store/store";
import type { Session } from "../state/session";
import { h, icon } from "./dom";
import { figures } from "./figures";

export function dialog(title: string, ...inside: (HTMLElement | string)[]): HTMLDialogElement {
  const close = h("button", { class: "button", type: "button" }, "Close");
  const element = h(
    "dialog",
    { class: "dialog", "aria-label": title },
    h("header", {}, h("h2", {}, title), close),
    ...inside,
  );
  close.addEventListener("click", () => element.close());
  element.addEventListener("close", () => {
    element.remove();
    document.querySelector<HTMLElement>(".stage")?.focus();
  });
  document.body.append(element);
  element.showModal();
  return element;
}

const LISTED = 500; // photos in the list at once

export function photosDialog(session: Session): void {
  const find = h("input", {
    class: "label",
    type: "search",
    placeholder: "Find a photo",
    autofocus: true,
  });
  find.setAttribute("aria-label", "Find a photo");
  const list = h("div", { class: "photo-list" });
  const element = dialog("Photos", find, list);
  const open = (image: ImageEntry) => {
    element.close();
    void session.open(image.id);
  };
  const found = () => {
    const wanted = find.value.toLowerCase();
    return session.images.filter((image) => image.name.toLowerCase().includes(wanted));
  };
  const draw = () => {
    const all = found();
    const here = all.findIndex((image) => image.id === session.images[session.index]?.id);
    const first = Math.max(0, Math.min(here - LISTED / 2, all.length - LISTED));
    const shown = all.slice(first, first + LISTED);
    const more = (count: number, where: string) =>
      count > 0 ? h("p", { class: "dim small" }, `${count} more ${where}: type to find them`) : "";
    list.replaceChildren(
      more(first, "before"),
      ...shown.map((image) => photoLine(image, image === all[here], () => open(image))),
      more(all.length - first - shown.length, "after"),
      all.length ? "" : h("p", { class: "dim small" }, "No photo has such a name."),
    );
    list.querySelector("[aria-current]")?.scrollIntoView({ block: "center" });
  };
  find.addEventListener("input", draw);
  find.addEventListener("keydown", (event) => {
    const [first] = found();
    if (event.key !== "Enter" || !find.value || !first) return;
    event.preventDefault();
    open(first);
  });
  draw();
}

function photoLine(image: ImageEntry, current: boolean, run: () => void): HTMLElement {
  return h(
    "button",
    {
      class: "photo-line",
      type: "button",
      "aria-current": current ? "true" : null,
      onclick: run,
    },
    image.status === "done" ? icon("check") : h("span", { class: "icon" }),
    h("span", { class: "name" }, image.name),
    h("span", { class: "dim" }, `${image.width} × ${image.height}`),
    h("span", { class: "dim" }, image.records ? `${image.records} masks` : ""),
  );
}

export async function reportDialog(session: Session): Promise<void> {
  try {
    const report = await session.store.report();
    dialog("Report", figures(report));
  } catch (error) {
    session.say(`The report could not be made: ${(error as Error).message}`);
  }
}
