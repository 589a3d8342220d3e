/** The review queue: one mask after the other, accept, fix, reject, and back again. */

import { patchToRle } from "../masks/patch";
import { rleToCoco, type CocoRle } from "../masks/rle";
import type { ReviewItem, Verdict } from "../store/store";
import { isEmptyResult } from "./drafting";
import type { Editor } from "./editor";
import type { Session } from "./session";
import { isChanged, isEmpty, type Mask } from "./work";

const BAR = 76; // screen pixels of the bar at the bottom

/** Open the next mask of the queue. */
export async function nextReview(session: Session): Promise<void> {
  try {
    await session.outbox.flush();
    const item = await session.store.nextReview();
    if (!item) {
      session.review = null;
      session.say("The review queue is empty: all sampled masks are reviewed.");
      return session.changed();
    }
    const { editor } = session;
    const here = editor?.entry.id === item.image && editor.sight.page === (item.page ?? 0);
    await show(session, item, !here);
  } catch (error) {
    session.say(`The next mask to review could not be loaded. ${(error as Error).message}`, [
      { title: "Try again", run: () => void nextReview(session) },
    ]);
  }
  session.changed();
}

/** Put a mask under review; `anew`: its image's masks are read again. */
async function show(session: Session, item: ReviewItem, reload: boolean): Promise<void> {
  session.review = { item, since: performance.now() };
  session.moveOn();
  if (reload) await session.open(item.image, item.page ?? 0);
  const { editor } = session;
  const key = editor?.state.masks.find((m) => session.outbox.idOf(m.key) === item.record)?.key;
  const mask = editor?.find(key ?? item.record);
  if (!editor || !mask)
    return session.say("This mask was deleted in the meantime. Press N for the next one.");
  editor.select(mask.key);
  editor.refresh();
  session.view.show(mask.box, BAR);
}

/** Say what the mask is worth, and go on. A fix takes the draft as the mask. */
export async function judge(session: Session, verdict: Verdict): Promise<void> {
  const { editor, review } = session;
  const mask = reviewedMask(session);
  if (!editor || !review || !mask || session.opening || review.given) return;
  if (verdict === "fix" && editor.draft.fixes !== mask.key) {
    if (!isEmpty(editor.draft))
      return session.say("Keep the new mask (Enter) or discard it (Esc) first.");
    editor.select(mask.key);
    editor.edit(false);
    session.toolName = "brush";
    return session.changed();
  }
  if (verdict === "accept" && wantsName(session, mask)) return;
  const seconds = Math.round(performance.now() - review.since) / 1000;
  review.given = true; // a second press is not about the mask that comes next
  let rle;
  if (editor.draft.fixes === mask.key) {
    if (verdict === "accept" && isChanged(editor.draft)) verdict = "fix";
    rle = verdict === "fix" ? await fixed(session, editor, mask) : undefined;
    review.given = rle !== null;
    if (rle === null) return;
    editor.drop();
  }
  const image = editor.entry.id;
  await session.outbox.add({ kind: "verdict", image, key: mask.key, verdict, seconds, rle });
  session.images = [...session.images];
  await session.outbox.flush();
  if (verdict === "accept") {
    editor.work.remake((one) => (one.key === mask.key ? { ...one, state: "accepted" } : one));
    editor.refresh();
  } else await session.open(image, editor.sight.page);
  const now = session.editor ?? editor;
  const { page } = editor.sight;
  session.judged.push({ image, page, key: mask.key, editor: now, steps: now.work.depth });
  await nextReview(session);
}

/** Enter under review: the fix, or an object that was missing, which is no verdict. */
export async function keep(session: Session): Promise<void> {
  const { editor } = session;
  if (!editor) return;
  if (editor.draft.fixes !== null) return judge(session, "fix");
  await editor.accept();
  editor.select(reviewedMask(session)?.key ?? null);
}

/** The mask that a verdict is about: the picked one, the one that is being fixed, or the sample. */
export function reviewedMask({ editor, review, outbox }: Session): Mask | null {
  if (!editor) return null;
  const sample = editor.state.masks.find(({ key }) => outbox.idOf(key) === review?.item.record);
  return editor.find(editor.draft.fixes) ?? editor.selected ?? sample ?? null;
}

/** The better shape, or null where there is none; the user is told why. */
async function fixed(session: Session, editor: Editor, mask: Mask): Promise<CocoRle | null> {
  try {
    const result = await editor.drafting.finish(editor.draft, mask);
    if (!isEmptyResult(result)) return rleToCoco(patchToRle(result.patch));
    session.say("The mask is empty. Press R to reject it, or Ctrl+Z to undo the last stroke.");
  } catch (error) {
    session.say((error as Error).message);
  }
  return null;
}

/** A mask without a name, where the project has names, is asked about once. */
function wantsName(session: Session, mask: Mask): boolean {
  const { review, labels } = session;
  if (!review || mask.label !== null || !labels.all.length || review.asked) return false;
  review.asked = true;
  session.say(
    "This mask has no class. Press 1 to 9 to set a class, or A again to accept it as it is.",
  );
  return true;
}

/** One step back: of the work on this image, or the last verdict where that is newer. */
export async function undo(session: Session): Promise<void> {
  const { editor } = session;
  const last = session.judged.at(-1);
  if (session.project.stage !== "review" || !last) return editor?.undo();
  const since = editor?.work === last.editor.work ? last.steps : 0;
  if (editor && editor.work.depth > since) return editor.undo();
  try {
    await session.outbox.flush();
    const id = session.outbox.idOf(last.key) ?? last.key;
    const saved = await session.store.removeVerdict(id);
    session.judged.pop();
    session.outbox.learn(last.key, saved);
    const { image, page } = last;
    await show(session, { image, page, record: saved.id, why: "decision undone" }, true);
  } catch (error) {
    session.say(`The review decision was not undone. ${(error as Error).message}`);
  }
  session.changed();
}
