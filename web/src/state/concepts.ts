/** The review of phrases: does every object of a phrase have a mask, or is the phrase absent? */

import type { ConceptAnswerBody, ConceptBody } from "../store/schema";
import type { Session } from "./session";
import { isEmpty } from "./work";

const ALONE = "Reviewing phrases requires a project on a server. See the tutorial “First project”.";
const NONE =
  "All phrases are reviewed. Phrases are the classes of the masks in an image, and similar " +
  "phrases that `anymask project concepts` proposes.";

interface OpenConcept {
  item: ConceptBody;
  since: number;
  given?: boolean;
}

const open = new WeakMap<Session, OpenConcept>();

/** The phrase under review, while its image is open. */
export function conceptOf(session: Session): ConceptBody | null {
  const item = open.get(session)?.item;
  const here = item?.image === session.editor?.entry.id && !session.review;
  return item && here ? item : null;
}

/** Masks of the phrase under review in the open image. */
export function masksOf({ editor }: Session, phrase: string): string[] {
  const own = editor?.state.masks.filter((one) => one.label === phrase && one.state !== "rejected");
  return own?.map(({ key }) => key) ?? [];
}

/** The masks that are filled while something is reviewed; of the others only outlines are shown. */
export function reviewedMasks(session: Session): ReadonlySet<string> | null {
  const concept = conceptOf(session);
  if (concept) return new Set(masksOf(session, concept.phrase));
  const selected = session.review && session.editor?.state.selected;
  return selected ? new Set([selected]) : null;
}

/** Open the image of the next phrase. */
export async function nextConcept(session: Session): Promise<void> {
  const { store } = session;
  if (!store.nextConcept) return session.say(ALONE);
  try {
    await session.outbox.flush();
    const item = await store.nextConcept();
    session.review = null;
    session.moveOn();
    if (item) open.set(session, { item, since: performance.now() });
    else closeConcepts(session, NONE);
    if (item && session.editor?.entry.id !== item.image) await session.open(item.image);
    session.editor?.select(null);
    session.editor?.refresh();
  } catch (error) {
    session.say(`The next phrase could not be loaded. ${(error as Error).message}`, [
      { title: "Try again", run: () => void nextConcept(session) },
    ]);
  }
  session.changed();
}

/** End the review of phrases. */
export function closeConcepts(session: Session, why = ""): void {
  open.delete(session);
  session.editor?.refresh();
  if (why) session.say(why);
  session.changed();
}

/**
 * Store the answer, and go on.
 *
 * @param all whether nothing is missing: every object has a mask, or the phrase is absent
 */
export async function answerConcept(session: Session, all: boolean): Promise<void> {
  const asked = open.get(session);
  const concept = conceptOf(session);
  const { editor, store } = session;
  if (!asked || !concept || !editor || session.opening || asked.given) return;
  if (!isEmpty(editor.draft))
    return session.say("Keep the new mask (Enter) or discard it (Esc) first.");
  asked.given = true; // a second press is not about the phrase that comes next
  const { image, phrase } = concept;
  const seconds = Math.round(performance.now() - asked.since) / 1000;
  const sure = masksOf(session, phrase).length ? "complete" : "absent";
  const answer: ConceptAnswerBody["answer"] = all ? sure : "incomplete";
  try {
    await editor.settled();
    await session.outbox.flush();
    await store.answerConcept!({ image, phrase, answer, seconds });
    await nextConcept(session);
  } catch (error) {
    asked.given = false;
    session.say(`The answer was not saved. ${(error as Error).message}`);
  }
}
