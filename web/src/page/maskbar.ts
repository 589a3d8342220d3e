/** What can be done with the picked masks, and what is noted on them. */

import {
  copyToNext,
  duplicate,
  merge,
  note,
  raise,
  split,
  subtract,
  takePixels,
  turn,
} from "../state/combining";
import { findAllLike } from "../state/finding";
import { isEmpty } from "../state/work";
import type { Session } from "../state/session";
import { fill, h } from "./dom";

export function maskBar(session: Session): HTMLElement {
  const element = h("div", { class: "mask-bar", role: "group", "aria-label": "Selected masks" });
  const rest = h("div", {});
  const more = h("details", {}, h("summary", {}, "More"), rest);
  session.watchers.push(() => {
    const { editor, review } = session;
    const chosen = editor && isEmpty(editor.draft) && !review ? editor.selection : [];
    const about = chosen.map(({ key, notes }) => [key, notes?.locked, notes?.hidden]);
    element.hidden = !chosen.length;
    const stack = (editor?.sight.planes.pages.length ?? 1) > 1;
    const button = (text: string, key: string, run: () => void) =>
      h("button", { class: "link", type: "button", onclick: run }, text, h("kbd", {}, key));
    fill(element, JSON.stringify([about, stack]), () => [
      chosen.length > 1 && h("span", { class: "dim" }, `${chosen.length} selected`),
      chosen.length > 1 && button("Merge", "Ctrl+M", () => merge(session)),
      chosen.length > 1 && button("Subtract", "Ctrl+B", () => subtract(session)),
      chosen.length === 1 && button("Split", "Ctrl+K", () => split(session)),
      !!session.store.find && button("Find similar", "Ctrl+F", () => void findAllLike(session)),
      more,
    ]);
    fill(rest, JSON.stringify([about, stack]), () => [
      button("Simplify", "Ctrl+I", () => session.simplifying.start()),
      button("Remove overlap", "Ctrl+X", () => takePixels(session)),
      button("Duplicate", "Ctrl+D", () => duplicate(session)),
      button(`Copy to next ${stack ? "page" : "image"}`, "Ctrl+E", () => void copyToNext(session)),
      button(chosen[0]?.notes?.locked ? "Unlock" : "Lock", "Z", () => turn(session, "locked")),
      button(chosen[0]?.notes?.hidden ? "Show" : "Hide", "Ctrl+H", () => turn(session, "hidden")),
      button("To front", "Ctrl+]", () => raise(session, 1)),
      button("To back", "Ctrl+[", () => raise(session, -1)),
    ]);
  });
  return element;
}

/** Tags, attributes and a comment of the picked mask. */
export function notesCard(session: Session): HTMLElement {
  const field = (title: string, placeholder: string) => {
    const input = h("input", { class: "label", type: "text", placeholder, "aria-label": title });
    input.autocomplete = "off";
    return input;
  };
  const tags = field("Tags", "Tags: cut off, blurred");
  const attributes = field("Attributes", "Attributes: color=red, side=left");
  const comment = field("Comment", "Comment");
  const words = (text: string) =>
    text
      .split(",")
      .map((word) => word.trim())
      .filter(Boolean);
  tags.addEventListener("change", () => note(session, "tags", { tags: words(tags.value) }));
  attributes.addEventListener("change", () => {
    const pairs = words(attributes.value).map((pair) => {
      const [name, ...value] = pair.split("=");
      return [name.trim(), value.join("=").trim()] as const;
    });
    note(session, "attributes", { attributes: Object.fromEntries(pairs) });
  });
  comment.addEventListener("change", () => note(session, "comment", { comment: comment.value }));
  const head = h("summary", {}, "Notes");
  const element = h("details", { class: "card notes" }, head, tags, attributes, comment);
  session.watchers.push(() => {
    const mask = session.editor?.selected ?? null;
    element.hidden = !mask;
    const { tags: words = [], attributes: pairs = {}, comment: text = "" } = mask?.notes ?? {};
    const shown = [
      words.join(", "),
      Object.entries(pairs)
        .map(([name, value]) => `${name}=${value}`)
        .join(", "),
      text,
    ];
    [tags, attributes, comment].forEach((input, i) => {
      if (document.activeElement !== input && input.value !== shown[i]) input.value = shown[i];
    });
  });
  return element;
}
