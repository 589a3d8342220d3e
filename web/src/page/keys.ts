/** The keyboard: one listener for the whole page. */

import type { Stage } from "../canvas/stage";
import { conceptOf } from "../state/concepts";
import type { Session } from "../state/session";
import { isEmpty } from "../state/work";
import { accept, keyName, type Command } from "./commands";
import { digitKeeps } from "./names";

export const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
/** Where a key belongs to what is typed into. */
const FIELDS = "input:not([type=range]), select, textarea";
const PAGE_KEYS = ["Ctrl+S", "Ctrl+O", "Ctrl+Shift+O", "Ctrl+Shift+S", "Ctrl+L"]; // also in fields
export const SLIDING = /^(Arrow|Page|Home|End)/; // a slider's own
const STEP = 8; // screen pixels

/** Whether a key is not the page's: a field has it, or a dialog, wherever the focus is. */
export function isTaken(event: KeyboardEvent, name: string, pageKeys: readonly string[]): boolean {
  const page = pageKeys.includes(name);
  if (!document.querySelector("dialog[open]")) {
    return !page && (event.target as HTMLElement).closest(FIELDS) !== null;
  }
  if (page) event.preventDefault(); // no dialog of the browser's over ours
  return true;
}
const FAST = 5; // steps with Shift

/** The object, or the next one, gets the nth name; one in the making is kept with it, if wished. */
function nameByDigit(session: Session, stage: Stage, digit: number): void {
  const label = session.labels.all[digit - 1];
  const name = () => {
    session.editor?.name(label.name);
    if (digitKeeps() && session.editor && !isEmpty(session.editor.draft)) {
      void accept(session, stage);
    }
  };
  if (label) return session.whenOpen(name);
  const count = session.labels.all.length;
  session.say(
    `No class has the key ${digit}. Classes in this project: ${count}. Press L to add one.`,
  );
}

export function listenToKeys(session: Session, stage: Stage, commands: Command[]): void {
  const byKey = (name: string) =>
    commands.find(
      (c) => c.keys.includes(name) && c.inReview && (session.review || conceptOf(session)),
    ) ?? commands.find((c) => c.keys.includes(name) && !c.inReview);

  document.addEventListener("keydown", (event) => {
    if (!stage.element.isConnected) return; // a video is open
    const name = keyName(event);
    const target = event.target as HTMLElement;
    const onStage = target === stage.element || target === document.body;
    if (isTaken(event, name, PAGE_KEYS)) return; // undo, copy and so on are the field's own
    if (target.matches("[type=range]") && SLIDING.test(event.key)) return;
    const arrow = ARROWS[event.key];
    if (arrow && onStage && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      const reach = STEP * (event.shiftKey ? FAST : 1);
      return stage.step(arrow[0] * reach, arrow[1] * reach);
    }
    const presses = name === "Space" || name === "Enter";
    if (presses && !onStage) return; // a focused button's own key
    if (name === "Space" && !stage.cross) {
      event.preventDefault();
      return stage.hold(true);
    }
    if (/^[1-9]$/.test(name) && !event.altKey) {
      event.preventDefault();
      return nameByDigit(session, stage, Number(name));
    }
    const command = byKey(name);
    if (!command || event.altKey) return;
    event.preventDefault();
    if (name === "Ctrl+Z") return session.whenOpen(command.run);
    const early = session.opening && command.group === "Object" && name !== "L";
    if (!early) command.run(); // the masks of the image that was left are no longer meant
  });

  window.addEventListener("blur", () => stage.hold(false));
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") stage.hold(false);
  });
}

/** A button that the mouse has pressed leaves the keys to the stage: Enter is to keep the mask. */
export function giveKeysBack(root: HTMLElement, element: HTMLElement): void {
  for (const part of root.children) {
    part.addEventListener("click", (event) => {
      const pressed = (event.target as HTMLElement).closest("button");
      if ((event as MouseEvent).detail && pressed && !pressed.closest("dialog")) element.focus();
    });
  }
}
