/** Masks made of masks: merged, subtracted, split into parts, copied; locked, hidden, raised. */

import { patchToRle, rleToPatch, type Patch } from "../masks/patch";
import { rleArea, rleCombine } from "../masks/rle";
import { regions, sizesOf } from "../model/regions";
import type { Notes } from "../store/store";
import type { Editor } from "./editor";
import type { Mask } from "./work";
import { withSpare } from "./everything";
import type { Session } from "./session";
import { pageBeside } from "./encoding";
import { shaped, withoutOverlap } from "./shaping";

function several(session: Session, what: string): Mask[] | null {
  const chosen = session.editor?.selection ?? [];
  if (chosen.length > 1) return session.editor!.free(chosen) ? chosen : null;
  session.say(`To ${what} masks, select at least two (O). Shift + click adds a mask.`);
  return null;
}

/** All selected masks become one: the first, with the pixels of all. */
export function merge(session: Session): void {
  const chosen = several(session, "merge");
  if (!chosen) return;
  const [first, ...rest] = chosen;
  const whole = shaped(
    first,
    rest.reduce((rle, mask) => rleCombine(rle, mask.rle, "union"), first.rle),
  );
  replace(session.editor!, "merge", chosen, [{ ...whole, state: "accepted" }]);
}

/** The first selected mask loses the pixels of the others, which stay. */
export function subtract(session: Session): void {
  const chosen = several(session, "subtract");
  if (!chosen) return;
  const [first, ...rest] = chosen;
  const rle = rest.reduce((left, mask) => rleCombine(left, mask.rle, "minus"), first.rle);
  if (!rleArea(rle)) return session.say("The mask would be empty, so it was not changed.");
  replace(session.editor!, "subtract", [first], [shaped(first, rle)]);
}

/** The selected masks get their pixels alone: those beneath lose them. */
export function takePixels(session: Session): void {
  const { editor } = session;
  const chosen = editor?.selection ?? [];
  if (!editor || !chosen.length) return session.say("Select a mask first (O).");
  const keys = new Set(chosen.map(({ key }) => key));
  const masks = withSpare(editor.state.masks, editor.spare, keys);
  const made = withoutOverlap(masks, chosen);
  const cut = made.filter((mask, i) => mask !== masks[i]).length;
  if (!cut) return session.say("The mask does not overlap any mask below.");
  editor.act("remove overlap", { masks: made });
}

/** Every part of the selected mask becomes a mask of its own. */
export function split(session: Session): void {
  const mask = session.editor?.selected;
  if (!mask || !session.editor!.free([mask])) return;
  const found = parts(rleToPatch(mask.rle));
  if (found.length < 2) return session.say("This mask has only one connected part.");
  const made = found.map((part, i) =>
    shaped(mask, patchToRle(part), i ? crypto.randomUUID() : mask.key),
  );
  replace(session.editor!, "split", [mask], made);
}

export function duplicate(session: Session): void {
  const { editor } = session;
  const made = (editor?.selection ?? []).map((one) => ({ ...one, key: crypto.randomUUID() }));
  if (editor && made.length) replace(editor, "duplicate", [], made);
}

/** Masks `gone` make room for `made`, which are selected then. */
function replace(editor: Editor, what: string, gone: Mask[], made: Mask[]): void {
  const place = editor.state.masks.findIndex((mask) => mask === gone[0]);
  const masks = editor.state.masks.filter((mask) => !gone.includes(mask));
  masks.splice(place < 0 ? masks.length : place, 0, ...made);
  const [selected, ...also] = made.map((mask) => mask.key);
  editor.act(what, { masks, selected, also });
}

/** Open the next page, or the next image, and put the selected masks there too. */
export async function copyToNext(session: Session): Promise<void> {
  const chosen = session.editor?.selection ?? [];
  if (session.opening) return; // the copies are on their way
  if (!chosen.length) return session.say("First select the masks to copy (press O).");
  const before = session.editor;
  const page = before && pageBeside(before.sight, 1);
  if (before && page !== null) await session.open(before.entry.id, page);
  else await session.go(1);
  const { editor } = session;
  if (!editor || editor === before) return;
  const fitting = chosen.filter(({ rle }) => rle.size.join() === editor.hw.join());
  if (!fitting.length)
    return session.say("The next image has a different size. No mask was copied.");
  const made = fitting.map((mask) => ({
    ...shaped(mask, mask.rle, crypto.randomUUID()),
    notes: { ...mask.notes, hidden: false, locked: false }, // it is to be seen and fitted there
    page: editor.sight.page,
    state: "accepted" as const,
  }));
  replace(editor, "copy", [], made);
}

/** Lock or hide the selected masks, or no longer. */
export function turn(session: Session, what: "locked" | "hidden"): void {
  const { editor } = session;
  const on = !editor?.selection.every((mask) => mask.notes?.[what]);
  note(session, what, { [what]: on });
}

/** Above all other masks (1), or below them (-1). */
export function raise(session: Session, way: 1 | -1): void {
  const levels = session.editor?.state.masks.map((mask) => way * (mask.notes?.level ?? 0)) ?? [];
  note(session, way > 0 ? "bring to front" : "send to back", {
    level: way * (Math.max(0, ...levels) + 1),
  });
}

export function note(session: Session, what: string, change: Notes): void {
  session.editor?.change(what, (mask) => ({ notes: { ...mask.notes, ...change } }));
}

/** The connected parts of a mask (pixels that touch at a side or a corner), the largest first. */
export function parts(patch: Patch): Patch[] {
  const labels = regions(patch.data, patch.height, patch.width);
  const sizes = sizesOf(labels);
  const order = [...sizes.keys()].slice(1).sort((a, b) => sizes[b] - sizes[a]);
  return order.map((one) => {
    return { ...patch, data: Uint8Array.from(labels, (label) => Number(label === one)) };
  });
}
