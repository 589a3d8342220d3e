/** Adding the masks of a file to the project. */

import type { Imported } from "../store/store";
import type { Session } from "./session";

export const ANNOTATIONS = /\.(?:zip|json|xml|csv|txt|geojson)$/i;

/** Import a file, show the new masks and say what was done. */
export async function importFile(session: Session, file: File): Promise<void> {
  const text = `Importing ${file.name} …`;
  session.say(text, [], true);
  try {
    await session.editor?.settled();
    await session.outbox.flush();
    const done = await session.store.import(file);
    await session.list();
    await session.labels.refresh();
    const id = session.editor?.entry.id ?? session.images[0]?.id;
    if (id !== undefined) await session.open(id, session.editor?.sight.page);
    session.say(`${file.name}: ${summary(done)}`);
  } catch (error) {
    session.say(`${file.name} could not be imported. ${(error as Error).message}`, [], true);
  }
  const waiting = session.messages.find((message) => message.text === text);
  if (waiting) session.dismiss(waiting);
}

const counted = (count: number, one: string) => `${count} ${one}${count === 1 ? "" : "s"}`;

export function summary({ new: fresh, same, strange, unread }: Imported): string {
  const parts = [
    `${counted(fresh, "mask")} imported.`,
    same > 0 && `Already in the project: ${counted(same, "mask")}.`,
    strange > 0 &&
      "Annotations skipped because their image is not in the project: " +
        `${counted(strange, "image")}.`,
    unread.length > 0 && `Skipped: ${unread.slice(0, 3).join("; ")}.`,
  ];
  return parts.filter(Boolean).join(" ");
}
