/** Several masks are selected at once: all of them, or those of the list from one to another. */

import type { Editor } from "./editor";
import type { Session } from "./session";
import type { Mask } from "./work";

const listed = (editor: Editor) => editor.shown.filter((mask) => mask.state !== "rejected");

/** Returns all proposals if any are shown, otherwise all other masks. */
export function selectAll({ editor, shown }: Session): void {
  const isOpen = ({ state }: Mask) => state === "proposed";
  const all = editor ? listed(editor) : [];
  const open = shown.proposals && all.some(isOpen);
  const keys = all.filter((mask) => isOpen(mask) === open).map(({ key }) => key);
  if (editor) selectMany(editor, keys);
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
  if (keys.length) return editor.judge(keys, state);
  const open = editor.shown.filter((mask) => mask.state === "proposed").length;
  if (open) editor.tell(`Press Ctrl+A, then Enter, to accept the proposals (${open}).`);
}

/** The next smaller (-1) or larger (1) of the candidates: part or whole. */
export function resize(editor: Editor, step: -1 | 1): void {
  const { candidates } = editor.result;
  const order = candidates
    .map((_, i) => i)
    .sort((a, b) => candidates[a].cells - candidates[b].cells);
  const place = order.indexOf(Math.min(editor.draft.candidate, candidates.length - 1));
  const next = order[place + step];
  if (next !== undefined) editor.say(step < 0 ? "part" : "whole", () => ({ candidate: next }));
}
