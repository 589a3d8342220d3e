/** The masks of the open image as the store has them, also while somebody else changes them. */

import type { Note, Outbox } from "../store/outbox";
import type { SavedRecord } from "../store/store";
import type { Editor } from "./editor";
import type { Session } from "./session";
import { toMask, type Mask, type Work } from "./work";

const LOOK_MS = 3000; // between two looks at what others did

/** How often the masks of an image had been changed when its page was looked at last. */
const known = new WeakMap<Work, number>();

/** Whose image's file was told to be another one. */
const told = new WeakSet<Editor>();

const isAboutMask = (note: Note): note is Note & { key: string } => note.kind !== "events";

/** The image's masks on all its pages, with what has not reached the store yet. */
export async function storedMasks({ outbox, store }: Session, image: string): Promise<Mask[]> {
  await outbox.flush();
  const records = await store.records(image);
  const keys = outbox.learnAll(records);
  const masks = new Map(records.map((record, i) => [keys[i], toMask(record, keys[i])]));
  for (const note of outbox.waitingFor(image)) {
    if (note.kind === "save") masks.set(note.key, toMask(note.record, note.key));
    if (note.kind === "remove") masks.delete(note.key);
  }
  return [...masks.values()];
}

/** Masks of other pages that count as the image's. */
export const countElsewhere = (masks: readonly Pick<Mask, "page" | "state">[], page: number) =>
  masks.filter((mask) => (mask.page ?? 0) !== page && mask.state !== "rejected").length;

/** See what others do with the open image, for as long as the page is there. */
export function watchOthers(session: Session): void {
  setInterval(() => {
    if (!document.hidden) void meetOthers(session);
  }, LOOK_MS);
}

/** Take over what others have changed since: as no step of one's own, so that undo passes it. */
async function meetOthers(session: Session): Promise<void> {
  const { editor, outbox, store } = session;
  if (!editor || !store.changes || isBusy(session, editor)) return;
  const { entry, work } = editor;
  const { masks } = work.state;
  const still = () => editor === session.editor && masks === work.state.masks;
  const before = session.images[session.index]?.status;
  const news = await store.changes(entry.id, known.get(work) ?? null).catch(() => null);
  if (!news || !still() || isBusy(session, editor)) return;
  const now = session.images[session.index];
  if (now?.id === entry.id && now.status === before && before !== news.status) {
    session.know(entry.id, { status: news.status });
  }
  tellFile(session, editor, news.file);
  if (!news.versions) return;
  const own = new Set(
    outbox
      .waitingFor(entry.id)
      .filter(isAboutMask)
      .map((note) => note.key),
  );
  if (work.state.draft.fixes !== null) own.add(work.state.draft.fixes); // it is asked about later
  const changed = newer(outbox, news.versions, own);
  const gone = away(outbox, masks, news.versions, own);
  if (changed.size || gone.size) {
    const records = await store.records(entry.id).catch(() => null);
    if (!records || !still() || isBusy(session, editor)) return;
    takeOver(session, editor, records, changed, gone);
  }
  if (!own.size) known.set(work, news.changes);
}

/** Say once that the file of the open image was replaced. */
function tellFile(session: Session, editor: Editor, file: string | null): void {
  const { entry, sight } = editor;
  if (!file || !sight.planes.file || file === sight.planes.file || told.has(editor)) return;
  told.add(editor);
  const show = { title: "Show the new file", run: () => void session.open(entry.id) };
  session.say("The file of this image was replaced while it was open.", [show]);
}

/** Whether something is on its way: then the store's masks are not those of the page yet. */
function isBusy({ outbox, opening }: Session, { entry, finding }: Editor): boolean {
  return opening !== null || finding !== null || outbox.sends(entry.id);
}

/** The ids of masks that the store has at a version that the page does not know. */
function newer(outbox: Outbox, versions: Record<string, number>, own: ReadonlySet<string>) {
  const names = outbox.namesById();
  const unknown = Object.entries(versions).filter(([id, version]) => {
    const name = names.get(id);
    return !name || (name.version < version && !own.has(name.key));
  });
  return new Set(unknown.map(([id]) => id));
}

/** The keys of masks that the store has had and has no longer. */
function away(
  outbox: Outbox,
  masks: readonly Mask[],
  versions: Record<string, number>,
  own: ReadonlySet<string>,
) {
  const lost = masks.filter(({ key }) => {
    const id = outbox.idOf(key);
    return id !== null && !(id in versions) && !own.has(key);
  });
  return new Set(lost.map(({ key }) => key));
}

function takeOver(
  session: Session,
  editor: Editor,
  records: SavedRecord[],
  changed: ReadonlySet<string>,
  gone: ReadonlySet<string>,
): void {
  const { page } = editor.sight;
  const theirs = records.filter(({ id }) => changed.has(id));
  const keys = session.outbox.learnAll(theirs);
  const masks = theirs.map((record, i) => toMask(record, keys[i]));
  editor.work.meet(
    masks.filter((mask) => (mask.page ?? 0) === page),
    gone,
  );
  session.elsewhere = countElsewhere(records, page);
  editor.hovered = null;
  editor.refresh();
  const shown = editor.state.masks.filter((mask) => mask.state !== "rejected");
  session.counted(editor.entry.id, shown.length);
  void session.labels.refresh().catch(() => null); // there may be new names
  session.changed();
}
