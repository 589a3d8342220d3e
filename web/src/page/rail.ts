/** The toolbar at the left: one button for each tool, with a word beside it where there is room. */

import type { Stage } from "../canvas/stage";
import { everything } from "../state/everything";
import { undo as stepBack } from "../state/review";
import type { Session } from "../state/session";
import { isEmpty } from "../state/work";
import { NEEDS_MODEL, TOOL_KEYS } from "./commands";
import { h, iconButton, type Icon } from "./dom";
import { findDialog } from "./finding";

const KEY = "anymask-words"; // of this browser: "no" where words are folded away

export function rail(session: Session, stage: Stage): HTMLElement {
  const tool = (name: Icon, word: string, title: string, key: string, run: () => void) => {
    const button = iconButton(name, title, key, run);
    button.append(h("span", { class: "word" }, word));
    return button;
  };
  const buttons = TOOL_KEYS.map(([name, key, title]) => {
    const button = tool(name, title.split(" ", 1)[0], title, key, () => stage.use(name));
    button.dataset.tool = name;
    return button;
  });
  const minus = tool("minus", "Background", "Background clicks", "", () => {
    session.subtracting = !session.takesAway;
    session.changed();
  });
  minus.classList.add("for-fingers");
  const all = "Segment everything";
  const find = tool("everything", "Everything", all, "M", () => void everything(session));
  const some = "Find objects by text, in this image or all images";
  const byWord = tool("search", "By text", some, "Ctrl+Shift+F", () => findDialog(session));
  const undo = tool("undo", "Undo", "Undo", "Ctrl+Z", () => void stepBack(session));
  const redo = tool("redo", "Redo", "Redo", "Ctrl+Shift+Z", () => session.editor?.redo());
  const words = iconButton("widen", "Show tool names", "", () => {
    localStorage.setItem(KEY, element.dataset.words === "true" ? "no" : "yes");
    show();
  });
  words.classList.add("widen");
  const show = () => {
    const open = localStorage.getItem(KEY) !== "no";
    element.dataset.words = String(open);
    words.setAttribute("aria-pressed", String(open));
  };
  const gap = () => h("span", { class: "gap" });
  const element = h(
    "div",
    { class: "rail", role: "toolbar", "aria-label": "Tools", "aria-orientation": "vertical" },
    buttons[0],
    minus,
    ...buttons.slice(1, 3),
    gap(),
    ...buttons.slice(3, 6),
    gap(),
    ...buttons.slice(6),
    gap(),
    find,
    byWord,
    h("span", { class: "stretch" }),
    undo,
    redo,
    words,
  );
  show();
  session.watchers.push(() => {
    const control = session.project.arm === "control";
    TOOL_KEYS.forEach(([name], i) => {
      buttons[i].setAttribute("aria-pressed", String(session.toolName === name));
      buttons[i].disabled = control && NEEDS_MODEL.includes(name);
    });
    minus.setAttribute("aria-pressed", String(session.takesAway));
    minus.disabled = !session.editor || isEmpty(session.editor.draft);
    find.disabled = control || !session.editor || session.editor.finding !== null;
    byWord.hidden = !session.store.find;
    const work = session.editor?.work;
    const verdict = session.project.stage === "review" && session.judged.length > 0;
    undo.disabled = !work?.undoable && !verdict;
    redo.disabled = !work?.redoable;
    const back = work?.undoable ?? (verdict ? "the last review decision" : null);
    undo.title = back ? `Undo: ${back} (Ctrl+Z)` : "Undo (Ctrl+Z)";
    redo.title = work?.redoable ? `Redo: ${work.redoable} (Ctrl+Shift+Z)` : "Redo (Ctrl+Shift+Z)";
  });
  return element;
}
