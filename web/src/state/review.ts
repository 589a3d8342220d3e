/** The review queue: one mask after the other, accept, fix or reject. */

import { patchToRle } from "../masks/patch";
import { rleToCoco } from "../masks/rle";
import type { Verdict } from "../store/store";
import type { Session } from "./session";

const BAR = 76; // screen pixels of the bar at the bottom

/** Open the next mask of the queue. */
export async function nextReview(session: Session): Promise<void> {
  try {
    await session.outbox.flush();
    const item = await session.store.nextReview();
    session.review = item && { item, since: performance.now() };
    if (!item) {
      session.say("The review queue is empty: every sampled mask has been looked at.");
      return session.changed();
    }
    if (session.editor?.entry.id !== item.image) await session.open(item.image);
    const { editor } = session;
    const key = editor?.state.masks.find((m) => session.outbox.idOf(m.key) === item.record)?.key;
    const mask = editor?.find(key ?? item.record);
    if (!editor || !mask)
      return session.say("This mask was deleted meanwhile; ask for the next one.");
    editor.select(mask.key);
    editor.refresh();
    session.view.show(mask.box, BAR);
  } catch (error) {
    session.say(`No mask to review came: ${(error as Error).message}`, [
      { title: "Try again", run: () => void nextReview(session) },
    ]);
  }
  session.changed();
}

/** Say what the mask is worth, and go on. A fix takes the draft as the mask. */
export async function judge(session: Session, verdict: Verdict): Promise<void> {
  const { editor, review } = session;
  const mask = editor?.selected ?? editor?.find(editor.draft.fixes);
  if (!editor || !review || !mask) return;
  if (verdict === "fix" && editor.draft.fixes !== mask.key) {
    editor.edit(false);
    session.toolName = "brush";
    return session.changed();
  }
  const seconds = Math.round(performance.now() - review.since) / 1000;
  let rle;
  if (verdict === "fix") {
    const looks = await editor.drafting.finish(editor.draft, mask);
    rle = rleToCoco(patchToRle(looks.patch));
    editor.drop();
  }
  const image = editor.entry.id;
  await session.outbox.add({ kind: "verdict", image, key: mask.key, verdict, seconds, rle });
  session.images = [...session.images];
  await session.outbox.flush();
  if (verdict !== "accept") await session.open(image);
  await nextReview(session);
}
