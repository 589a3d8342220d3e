/** The card of the object: its name, the names of the project with their keys. */

import type { Session } from "../state/session";
import { fill, h, link } from "./dom";

/** kept  gives the keys back to the image; names  opens the list of names */
export function objectCard(session: Session, kept: () => void, names: () => void) {
  const label = h("input", {
    class: "label",
    type: "text",
    list: "labels",
    placeholder: "Class of the object",
    "aria-label": "Class",
    autocomplete: "off",
    spellcheck: "false",
  });
  const known = h("datalist", { id: "labels" });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Classes" });
  const edit = link("Edit classes …", names);
  label.addEventListener("focus", () => label.select());
  const name = (text: string) => session.whenOpen(() => session.editor?.name(text));
  label.addEventListener("change", () => name(label.value));
  label.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    if (event.key === "Enter") name(label.value);
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
    const signature = JSON.stringify([shown, all.map(({ name, color }) => [name, color])]);
    fill(chips, signature, () =>
      all.map((one, place) => {
        const dot = h("i", { class: "dot" });
        dot.style.background = one.color;
        dot.style.setProperty("--color", one.color);
        const chosen = one.name === shown;
        const onclick = () => name(chosen ? "" : one.name);
        return h(
          "button",
          { class: "chip", type: "button", "aria-pressed": String(chosen), onclick },
          dot,
          h("span", {}, one.name),
          place < 9 && h("kbd", {}, String(place + 1)),
        );
      }),
    );
    if (document.activeElement !== label && label.value !== shown) label.value = shown;
    label.disabled = !session.editor;
  });
  const suggested = suggestions(session);
  const head = h("div", { class: "card-head" }, h("h2", {}, "Object"), edit);
  const element = h("section", { class: "card object" }, head, label, known, suggested, chips);
  return { element, label };
}

/** What the model would call the object; its line is there before they come, so nothing moves. */
function suggestions(session: Session): HTMLElement {
  const element = h("div", { class: "suggestions", role: "group" });
  element.setAttribute("aria-label", "Suggested classes");
  session.watchers.push(() => {
    const { naming } = session;
    naming.follow();
    element.hidden = !naming.able;
    const { editor } = session;
    const named = editor?.state.label ?? "";
    const kept = editor ? naming.likelyName(editor) : null; // what Enter will call it
    fill(element, JSON.stringify([named, kept, naming.shown]), () =>
      naming.shown.map(({ label, probability }, place) => {
        const keeps = label === kept;
        const key = keeps
          ? " (Enter keeps the mask with this class)"
          : place
            ? ""
            : " (Ctrl+Enter)";
        return h(
          "button",
          {
            class: "chip suggestion",
            type: "button",
            title: `Suggested class: ${label}${key}`,
            "aria-pressed": String(label === (named || kept)),
            onclick: () => naming.take(place),
          },
          h("span", {}, label),
          h("i", {}, `${Math.round(100 * probability)}%`),
          keeps && h("kbd", {}, "Enter"),
        );
      }),
    );
  });
  return element;
}
