/** Several masks are selected at once: all of them, or those of the list from one to another. */

import type { Editor } from "./editor";
import type { Mask } from "./work";

const listed = (editor: Editor) => editor.shown.filter((mask) => mask.state !== "rejected");

export function selectAll(editor: Editor): void {
  selectMany(
    editor,
    listed(editor).map((mask) => mask.key),
  );
}

/** All masks of the list between the selected one and another. */
export function selectTo(editor: Editor, key: string): void {
  const keys = listed(editor).map((mask) => mask.key);
  const [from, to] = [editor.state.selected, key].map((one) => keys.indexOf(one ?? ""));
  if (from < 0 || to < 0) return editor.select(key);
  const between = keys.slice(Math.min(from, to), Math.max(from, to) + 1);
  selectMany(editor, from <= to ? between : between.reverse());
}

export function selectMany(editor: Editor, [first, ...others]: readonly string[]): void {
  editor.select(first ?? null);
  for (const key of others) editor.select(key, true);
}

/** The proposals that are picked, of those that are shown. */
export function pickedProposals(editor: Editor): Mask[] {
  const shown = new Set(editor.shown);
  return editor.selection.filter((mask) => mask.state === "proposed" && shown.has(mask));
}

export function judgePicked(editor: Editor, state: "accepted" | "rejected"): void {
  const keys = pickedProposals(editor).map((mask) => mask.key);
  if (keys.length) editor.judge(keys, state);
}
