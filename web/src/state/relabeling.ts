/** Names of the project that change with all their masks: renamed, merged, deleted. */

import type { LabelFate } from "../store/store";
import type { Session } from "./session";

/** Rename a name and its masks; where `to` is there, both become one. */
export async function renameLabel(session: Session, name: string, to: string): Promise<void> {
  await sent(session);
  await session.labels.change(name, { to });
  await relabel(session, name, to, false);
}

/** Delete a name; its masks become nameless, or go too. */
export async function deleteLabel(session: Session, name: string, masks: LabelFate): Promise<void> {
  await sent(session);
  await session.labels.delete(name, masks);
  await relabel(session, name, null, masks === "delete");
}

async function sent(session: Session): Promise<void> {
  await session.editor?.settled();
  await session.outbox.flush();
  if (session.standing.lost)
    throw new Error(
      "Classes cannot be changed while the server does not respond. Try again later.",
    );
}

async function relabel(session: Session, old: string, to: string | null, gone: boolean) {
  const { editor, outbox, store } = session;
  if (editor) {
    outbox.learnAll(await store.records(editor.entry.id));
    editor.relabel(old, to, gone);
  }
  if (gone) await session.list();
}
