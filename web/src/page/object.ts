/** The card of the object: its name, the names of the project with their keys. */

import type { Session } from "../state/session";
import { fill, h } from "./dom";

export interface ObjectCard {
  element: HTMLElement;
  label: HTMLInputElement;
}

/** kept  gives the keys back to the photo; names  opens the list of names */
export function objectCard(session: Session, kept: () => void, names: () => void): ObjectCard {
  const label = h("input", {
    class: "label",
    type: "text",
    list: "labels",
    placeholder: "Name of the object",
    "aria-label": "Label",
    autocomplete: "off",
    spellcheck: "false",
  });
  const known = h("datalist", { id: "labels" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Labels" });
  const edit = h("button", { class: "link", type: "button", onclick: names }, "Names …");
  label.addEventListener("focus", () => label.select());
  label.addEventListener("change", () => session.editor?.name(label.value));
  label.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    if (event.key === "Enter") session.editor?.name(label.value);
    else label.value = session.editor?.state.label ?? "";
    label.blur();
    kept();
    event.preventDefault();
  });
  session.watchers.push(() => {
    const { all } = session.labels;
    const shown = session.editor?.state.label ?? "";
    fill(known, all.map((one) => one.name).join("\n"), () =>
      all.map(({ name }) => h("option", { value: name })),
    );
    const looks = JSON.stringify([shown, all.map(({ name, colour }) => [name, colour])]);
    fill(chips, looks, () =>
      all.map(({ name, colour }, place) => chip(session, name, colour, place, name === shown)),
    );
    if (document.activeElement !== label && label.value !== shown) label.value = shown;
    label.disabled = !session.editor;
  });
  const head = h("div", { class: "card-head" }, h("h2", {}, "Object"), edit);
  return { element: h("section", { class: "card object" }, head, label, known, chips), label };
}

function chip(
  session: Session,
  name: string,
  colour: string,
  place: number,
  chosen: boolean,
): HTMLElement {
  const dot = h("i", { class: "dot" });
  dot.style.background = colour;
  dot.style.setProperty("--colour", colour);
  const again = () => session.editor?.name(chosen ? "" : name);
  return h(
    "button",
    { class: "chip", type: "button", "aria-pressed": String(chosen), onclick: again },
    dot,
    h("span", {}, name),
    place < 9 && h("kbd", {}, String(place + 1)),
  );
}
