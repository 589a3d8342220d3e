/** The project's folder while the page is open: images that come, and those that are gone. */

import type { Session } from "./session";

const PAUSE_MS = 10_000; // between looks that nobody asked for
const NAMED = 3; // names in a message

/** What was told already, and when the folder was looked into last. */
const told = new WeakMap<Session, Set<string>>();
const scannedAt = new WeakMap<Session, number>();

const listed = (names: string[]) =>
  names.slice(0, NAMED).join(", ") + (names.length > NAMED ? ", ..." : "");

/** Look into the folder; the page says what is new there since it was listed. */
export async function scanFolder(session: Session): Promise<void> {
  scannedAt.set(session, performance.now());
  await session.labels.refresh().catch(() => null); // somebody may have renamed one
  const news = await session.store.scanFolder().catch(() => null); // away: the next look
  if (!news) return;
  const known = told.get(session) ?? new Set<string>();
  told.set(session, known);
  const fresh = (name: string) => !known.has(name) && Boolean(known.add(name));
  if (news.added) {
    await session.list();
    const images = news.added === 1 ? "image" : "images";
    session.say(
      `${news.added} new ${images} found in the folder and added at the end of the list (press I).`,
    );
    const [first] = session.images;
    if (session.index < 0 && !session.opening && first) void session.open(first.id);
  }
  session.gone = new Set(news.gone);
  const away = session.images.filter(({ id, name }) => session.gone.has(id) && fresh(`-${name}`));
  for (const { id, name } of session.images) if (!session.gone.has(id)) known.delete(`-${name}`);
  if (away.length) {
    const names = listed(away.map(({ name }) => name));
    session.say(`Missing from the folder: ${names}. Their masks are kept.`);
  }
  for (const [name, why] of Object.entries(news.unreadable)) {
    if (fresh(`!${name}`)) session.say(`${name} cannot be read. ${why}`);
  }
  session.changed();
}

/** The same when somebody comes back to the page, but not at every turn. */
export function scanWhenBack(session: Session): void {
  const scan = () => {
    const since = performance.now() - (scannedAt.get(session) ?? -PAUSE_MS);
    if (!document.hidden && since >= PAUSE_MS) void scanFolder(session);
  };
  addEventListener("focus", scan);
  document.addEventListener("visibilitychange", scan);
  scan();
}
