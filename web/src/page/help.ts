/** The overlay that lists every command and the mouse's gestures. */

import type { Command } from "./commands";
import { h } from "./dom";
import type { VideoCommand } from "./videokeys";

const MOUSE: [string, string][] = [
  ["Hover", "Preview the mask"],
  ["Click", "Foreground click"],
  ["Shift + click, right click", "Background click"],
  ["Drag", "Use the selected tool, such as box, lasso or brush"],
  ["Wheel", "Zoom at the pointer"],
  ["Alt + wheel", "Change the page of a stack"],
  ["Space + drag, middle button", "Move the image"],
];

const WORDS: Record<string, string> = {
  PageDown: "Page ↓",
  PageUp: "Page ↑",
  Escape: "Esc",
  Arrows: "← ↑ ↓ →",
  "Alt+Arrows": "Alt + ← ↑ ↓ →",
  ArrowLeft: "←",
  ArrowRight: "→",
  "Shift+ArrowLeft": "Shift + ←",
  "Shift+ArrowRight": "Shift + →",
};

export function helpDialog(
  commands: Pick<VideoCommand | Command, "keys" | "title" | "group">[],
  gestures: [string, string][] = MOUSE,
  groups: readonly string[] = ["Tools", "Object", "Image", "View", "Page"],
): HTMLDialogElement {
  const key = (name: string) => h("kbd", {}, WORDS[name] ?? name.replaceAll("+", " + "));
  const lists = groups.map((group) =>
    h(
      "section",
      { class: "help-group" },
      h("h3", {}, group),
      ...commands
        .filter((command) => command.group === group)
        .map((command) =>
          h(
            "p",
            { class: "help-row" },
            h("span", {}, command.title),
            h("span", { class: "keys" }, ...command.keys.map(key)),
          ),
        ),
    ),
  );
  const mouse = gestures.map(([gesture, does]) =>
    h("p", { class: "help-row" }, h("span", {}, does), h("span", { class: "keys" }, gesture)),
  );
  const search = h("input", {
    class: "label",
    type: "search",
    placeholder: "Search",
    "aria-label": "Search the help",
    autofocus: true,
  });
  const none = h("p", { class: "dim", role: "status", hidden: true }, "No results.");
  const close = h("button", { class: "button", type: "button" }, "Close");
  const dialog = h(
    "dialog",
    { class: "dialog help", "aria-label": "Help" },
    h("header", {}, h("h2", {}, "Keyboard shortcuts and gestures"), search, close),
    h(
      "div",
      { class: "help-lists" },
      h("section", { class: "help-group" }, h("h3", {}, "Mouse"), ...mouse),
      ...lists,
    ),
    none,
  );
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const group of dialog.querySelectorAll<HTMLElement>(".help-group")) {
      const rows = [...group.querySelectorAll<HTMLElement>(".help-row")];
      for (const row of rows) {
        const text = row.textContent!.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        found += Number(!row.hidden);
      }
      group.hidden = rows.every((row) => row.hidden);
    }
    none.hidden = found > 0;
  });
  close.addEventListener("click", () => dialog.close());
  return dialog;
}
