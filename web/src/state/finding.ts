/** Things like a mask, or called by a word: proposals with names, in the open image or in all. */

import type { SearchBody, SearchState } from "../store/schema";
import { everything } from "./everything";
import { propose } from "./proposing";
import type { Session } from "./session";
import { selectMany } from "./selecting";
import { isEmpty, toMask } from "./work";

const LOOK_MS = 1000; // between two looks at how far the search of all images is
export const ALONE =
  "Finding objects requires a project on a server. See the tutorial “First project”.";

/** What is like the picked masks. Throws where none is picked, or not on the server. */
export async function likePicked({ editor, outbox }: Session): Promise<SearchBody> {
  const masks = editor && isEmpty(editor.draft) ? editor.selection : [];
  if (!masks.length) throw new Error("Select a mask first (O) to find similar objects.");
  await editor!.settled();
  await outbox.flush();
  const like = masks.map((mask) => ({ record: Number(outbox.idOf(mask.key)) }));
  if (like.some(({ record }) => !record)) throw new Error("This mask is not saved yet. Try again.");
  return { like };
}

/**
 * Find in the open image, and pick what is found. Returns why nothing is picked, null otherwise.
 * Throws where that cannot be answered.
 */
export async function findHere(session: Session, question: SearchBody): Promise<string | null> {
  const { editor, outbox, store } = session;
  if (!editor || editor.finding) return null;
  if (!store.find) throw new Error(ALONE);
  editor.finding = [0, 1];
  session.changed();
  try {
    await editor.settled();
    await outbox.flush();
    const answer = await store.find(editor.entry.id, question, editor.sight.request);
    const { records, existing, untrained = [] } = answer;
    const keys = outbox.learnAll(records);
    const found = records.map((record, i) => toMask(record, keys[i]));
    if (found.length) propose(session.db, editor, "find", found, true);
    if (found.length) selectMany(editor, keys);
    const more = existing
      ? ` ${existing} more already ${existing === 1 ? "has a mask" : "have masks"}.`
      : "";
    const none = `No new objects found in this image.${more}${untrainedText(untrained)}`;
    session.say(
      found.length
        ? `New objects found and selected: ${found.length}. ` +
            `Enter accepts them, Delete rejects them.${more}${untrainedText(untrained)}`
        : none,
      found.length === 1
        ? [{ title: "Segment everything", run: () => void everything(session) }]
        : [],
    );
    return found.length ? null : none;
  } finally {
    editor.finding = null;
    session.changed();
  }
}

/** Says that the model has not learned some names from images; nothing where it has. */
function untrainedText(names: string[]): string {
  const list = names.map((name) => `“${name}”`).join(", ");
  return names.length ? ` No training images for ${list}: scores are less accurate.` : "";
}

export async function findAllLike(session: Session): Promise<void> {
  try {
    await findHere(session, await likePicked(session));
  } catch (error) {
    session.say((error as Error).message);
  }
}

/** Begin the search of all images, or stop it (null); then follow it. Throws what is refused. */
export async function searchAll(session: Session, question: SearchBody | null): Promise<void> {
  if (!session.store.search) throw new Error(ALONE);
  searches.set(session, await session.store.search(question));
  session.changed();
  void followSearch(session);
}

/** How far the search of all images was when somebody asked last. */
const searches = new WeakMap<Session, SearchState>();
const followed = new WeakSet<Session>();

export const searchOf = (session: Session) => searches.get(session) ?? null;

/** Tell how far the search of all images is until it ends. */
export async function followSearch(session: Session): Promise<void> {
  if (followed.has(session)) return;
  followed.add(session);
  const runs = async () => {
    const told = await session.store.search!().catch(() => searchOf(session)); // the next look
    if (told) searches.set(session, told);
    session.changed();
    return told?.state === "running";
  };
  const began = await runs();
  for (let on = began; on; on = await runs()) {
    await new Promise((resume) => setTimeout(resume, LOOK_MS));
  }
  followed.delete(session);
  if (!began) return;
  await session.list();
  session.say(`All images: ${searchText(session)}`);
}

export function searchText(session: Session): string {
  const { state = "none", done = 0, total = 0, found = 0, why = "" } = searchOf(session) ?? {};
  if (state === "none") return "";
  const far = `${done} of ${total} images, ${found} ${found === 1 ? "proposal" : "proposals"}`;
  return [state === "running" ? far : `${far}: ${state}.`, why].filter(Boolean).join(" ");
}
