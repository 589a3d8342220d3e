/** Adding the masks of a file to the project. */

import type { Imported } from "../store/store";
import type { Session } from "./session";

const PICTURE = /\.(?:jpe?g|webp|gif|bmp|heic)$/i; // of which no format holds masks
export const ANNOTATIONS = /\.(?:zip|json|xml|csv|txt|geojson)$/i;

/** Import a file, show the new masks and say what was done. */
export async function importFile(session: Session, file: File): Promise<void> {
  if (PICTURE.test(file.name))
    return session.say(
      `${file.name} is an image without masks. ` +
        "Choose a COCO, YOLO, CVAT or other annotation file, or a ZIP.",
    );
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

const NOT_KEPT = "Not kept: "; // begins what is about the kept masks

/** The first reasons, of records that were skipped or of what is not kept of the others. */
const lines = (unread: string[], lost: boolean) =>
  unread
    .filter((line) => line.startsWith(NOT_KEPT) === lost)
    .slice(0, 3)
    .map((line) => line.replace(NOT_KEPT, ""))
    .join("; ");

export function summary({ new: fresh, same, strange, unread }: Imported): string {
  const parts = [
    `${counted(fresh, "mask")} imported.`,
    same > 0 && `Already in the project: ${counted(same, "mask")}.`,
    strange > 0 &&
      "Annotations skipped because their image is not in the project: " +
        `${counted(strange, "image")}.`,
    lines(unread, false) && `Skipped: ${lines(unread, false)}.`,
    lines(unread, true) && `Not imported: ${lines(unread, true)}.`,
  ];
  return parts.filter(Boolean).join(" ");
}
