/** What of an image is looked at, and the model that sees it. */

import type { Model } from "../model/client";
import { AS_IT_COMES, StoreError, type Channel, type Plane, type Planes } from "../store/store";
import { compositeToQuery, fits, firstComposite, mixable } from "./composite";
import type { Editor } from "./editor";
import { everything } from "./everything";
import { hadProposals } from "./proposing";
import type { Session } from "./session";
import { isEmpty } from "./work";

const LOOK = "anymask channel";
const REPLACED =
  "The file of this image was replaced after masks were drawn on it. Check whether " +
  "the masks still " +
  "fit, and mark the image as done (D).";

/** What an editor channels at: a page of the image's file, in a channel or as it comes. */
export interface Sight {
  planes: Planes;
  page: number;
  channel: Channel;
  key: string; // the model's name for these pixels
  request: Plane; // what the store is asked for
}

/** The channel that this tab looked at last, which a reload does not forget. */
export const lastChannel = {
  read(): Pick<Sight, "channel"> | null {
    const kept = sessionStorage.getItem(LOOK);
    return kept === null ? null : { channel: JSON.parse(kept) as Channel };
  },
  write(channel: Channel): void {
    sessionStorage.setItem(LOOK, JSON.stringify(channel));
  },
};

/** Where an image is opened: at a page (null: its first), in the channel that was shown before. */
export function sightOf(
  image: string,
  planes: Planes,
  page: number | null,
  before: Pick<Sight, "channel"> | null,
): Sight {
  const hasPage = planes.pages.some((one) => one.page === page);
  const wanted = before?.channel ?? null;
  const channel = wanted !== null && hasChannel(wanted, planes) ? wanted : null;
  const at = hasPage ? page! : planes.first;
  const first = at === planes.first && channel === null;
  const key = first ? image : `${image}#${at}#${channel ?? ""}`;
  return { planes, page: at, channel, key, request: first ? AS_IT_COMES : { page: at, channel } };
}

function hasChannel(channel: number | string, planes: Planes): boolean {
  if (typeof channel === "string") return fits(channel, mixable(planes));
  return channel < planes.channels.length;
}

/** Which file each image was when it was opened last. */
const files = new WeakMap<Session, Map<string, string>>();

/** An image is opened: if its file was replaced, model and masks know another. */
export function meetFile(session: Session, image: string, { file, replaced }: Planes): void {
  const known = files.get(session) ?? new Map<string, string>();
  files.set(session, known);
  if (file !== undefined && known.has(image) && known.get(image) !== file)
    session.model()?.forget(image);
  if (file !== undefined) known.set(image, file);
  if (replaced) session.say(REPLACED);
}

/** The number of the page beside the open one, or null. */
export function pageBeside({ planes, page }: Sight, step: number): number | null {
  const place = planes.pages.findIndex((one) => one.page === page);
  return planes.pages[place + step]?.page ?? null;
}

/** Open the page beside the open one. */
export async function turnPage(session: Session, step: number): Promise<void> {
  const { editor } = session;
  if (!editor) return;
  if (editor.sight.planes.pages.length < 2) return session.say("This image has only one page.");
  const from = session.turningTo ?? editor.sight.page; // keys may come faster than pages
  const page = pageBeside({ ...editor.sight, page: from }, step);
  if (page !== null) await session.open(editor.entry.id, page);
  else session.say(step > 0 ? "This is the last page." : "This is the first page.");
}

/** Show the next channel; after the last one the image as it comes, where it has such a look. */
export async function turnChannel(session: Session, step: number): Promise<void> {
  const { editor } = session;
  if (!editor) return;
  const { planes, channel } = editor.sight;
  const channels = channelsOf(editor.sight);
  if (channels.length < 2) return session.say("This image has only one channel.");
  const place = channels.indexOf(planes.colors ? channel : (channel ?? 0));
  await session.showChannel(channels[(place + step + channels.length) % channels.length]);
}

/** The channels at a page: null for the image's own colors, its channels, and several in one. */
export function channelsOf({ planes, channel }: Sight): Channel[] {
  const own = [...(planes.colors ? [null] : []), ...planes.channels.keys()];
  const count = mixable(planes);
  if (!count) return own;
  return [...own, typeof channel === "string" ? channel : compositeToQuery(firstComposite(count))];
}

/** Let the model see the image, then the next one. */
export async function encodeImage(session: Session, editor: Editor): Promise<void> {
  const model = session.model();
  if (!model) return;
  try {
    const { entry, sight } = editor;
    await embed(session, model, entry.id, sight.request, sight.key);
    editor.encoded = true;
    if (!isEmpty(editor.draft)) void editor.update();
    session.changed();
    if (editor !== session.editor) return;
    if (wantsProposals(session, editor)) await everything(session);
    const next = session.images[session.index + 1];
    // What goes wrong with the next one is said when it is opened.
    if (next) await embed(session, model, next.id, AS_IT_COMES, next.id).catch(() => null);
  } catch (error) {
    if (editor !== session.editor) return;
    const again = { title: "Try again", run: () => void encodeImage(session, editor) };
    session.say(`The image could not be encoded. ${(error as Error).message}`, [again]);
  }
}

/** Whether work on an image begins with proposals: in a way of working that does so, where nobody
 * has made or rejected a mask, taken proposals back, nor finished the image. */
export function wantsProposals({ images, project }: Session, editor: Editor): boolean {
  const status = images.find(({ id }) => id === editor.entry.id)?.status;
  const fresh = !editor.state.masks.length && status !== "done" && !hadProposals(editor.work);
  return fresh && (project.stage === "semi" || project.stage === "auto");
}

function embed(session: Session, model: Model, image: string, plane: Plane, key: string) {
  const { store } = session;
  return model.encode(
    key,
    () => store.pixels(image, plane),
    async () => {
      for (let attempt = 0; ; attempt++) {
        try {
          return await store.features(image, plane);
        } catch (error) {
          const busy = error instanceof StoreError && error.kind === "busy";
          if (!busy || attempt > 8) throw error;
          await new Promise((resume) => setTimeout(resume, 1000 * error.retryAfter));
        }
      }
    },
  );
}
