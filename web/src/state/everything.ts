/** Proposals for everything in the image, and those that are shown of them. */

import type { Model } from "../model/client";
import type { Proposal } from "../model/everything";
import type { SavedRecord } from "../store/store";
import { rleIou } from "../masks/rle";
import type { Editor } from "./editor";
import { propose } from "./proposing";
import type { Session } from "./session";
import { toMask, type Mask } from "./work";

/** Propose masks for the open image; those that are not shown are kept aside, for the slider. */
export async function everything(session: Session): Promise<void> {
  const { editor } = session;
  const model = session.model();
  if (!editor || editor.finding) return;
  const tell = (done: number, all: number) => {
    if (editor.finding) editor.finding = [done, Math.max(1, all)];
    session.changed();
  };
  editor.finding = [0, 1];
  session.changed();
  try {
    const sent = await session.store.everything(editor.entry.id, editor.sight, tell);
    if (sent) {
      editor.spare = sent.others.map((one) => toMask(one, crypto.randomUUID()));
      propose(session.db, editor, "everything", learned(session, editor, sent.records), true);
    } else if (!model || !editor.encoded) session.say("The image is not encoded yet.");
    else {
      const { shown, others } = await proposed(editor, model, tell);
      const existing = editor.state.masks.filter((mask) => mask.state !== "rejected");
      editor.spare = others;
      propose(session.db, editor, "everything", withoutDoubles(shown, existing), false);
    }
  } catch (error) {
    session.say(`Automatic mask generation failed. ${(error as Error).message}`);
  } finally {
    editor.finding = null;
    session.changed();
  }
}

const SAME = 0.7; // IoU from which a proposal is a mask that is there already

/** Proposals that show something new. */
function withoutDoubles(found: readonly Mask[], existing: readonly Mask[]): Mask[] {
  return found.filter((one) => !existing.some((mask) => rleIou(one.rle, mask.rle) >= SAME));
}

function learned(session: Session, editor: Editor, records: SavedRecord[]): Mask[] {
  const keys = session.outbox.learnAll(records);
  const known = new Set(editor.state.masks.map((mask) => mask.key));
  return records.map((r, i) => toMask(r, keys[i])).filter((mask) => !known.has(mask.key));
}

async function proposed(editor: Editor, model: Model, tell: (done: number, all: number) => void) {
  const found = await model.everything(editor.sight.key, tell);
  const { name, weights_hash } = model.manifest;
  const named = (one: Proposal) => {
    const { points, stability } = one;
    const provenance = { by: "model", model: name, model_hash: weights_hash, points, stability };
    const record = { ...one, label: null, state: "proposed" as const, provenance };
    return toMask(record, crypto.randomUUID());
  };
  return { shown: found.shown.map(named), others: found.others.map(named) };
}

/** What proposals are shown by: how likely each is an object; its score where nobody judged. */
export const scoreOf = ({ notes, score }: Mask) => notes?.objectness || (score ?? 1);

/** Masks that are there for the eye: proposals from the least score on, those aside too. */
export function shownMasks(
  masks: readonly Mask[],
  spare: readonly Mask[],
  least: number | null,
): readonly Mask[] {
  if (least === null) return masks;
  const good = (mask: Mask) => scoreOf(mask) >= least;
  const known = new Set(masks.map((mask) => mask.key));
  const more = spare.filter((mask) => !known.has(mask.key) && good(mask));
  return [...masks.filter((mask) => mask.state !== "proposed" || good(mask)), ...more];
}

/** The masks of an image, and behind them those aside that `keys` names: they are its own then. */
export function withSpare(
  masks: readonly Mask[],
  spare: readonly Mask[],
  keys: ReadonlySet<string>,
): Mask[] {
  const known = new Set(masks.map((mask) => mask.key));
  return [...masks, ...spare.filter(({ key }) => keys.has(key) && !known.has(key))];
}
