/**
 * Corrections of tracks that the project keeps: the session takes a track up with the first click,
 * and lets it go when the correction is stored or dropped.
 */

import type { VideoWork } from "./videowork";

/** Have the session know a track, so that it can be corrected. */
export async function wake(work: VideoWork, object: number): Promise<void> {
  if (!work.tracks.isResting(object)) return;
  await work.videos.takeUp(work.facts.name, object, work.tracks.all(object));
  work.tracks.wake(object);
}

/** Whether something was said of a track that is not stored yet. */
export const isCorrected = (work: VideoWork, object: number): boolean =>
  work.tracks.isStored(object) && work.said.some((one) => one.object === object);

/** Whether an object has a mask already: then something can be taken away from it. */
export const isBegun = (work: VideoWork, object: number): boolean =>
  work.tracks.isStored(object) || work.said.some((one) => one.object === object);

/** Whether clicks without a key say "not this": of one object, until another one is chosen. */
export function takesAway(work: VideoWork): boolean {
  if (work.subtracting !== work.chosen) work.subtracting = null;
  return work.toolName === "point" && work.subtracting !== null && isBegun(work, work.chosen);
}

/** The objects that nobody has stored: corrected tracks, and new ones. */
export const unstored = (work: VideoWork): number[] =>
  work.tracks.objects.filter(
    (object) => !work.tracks.isStored(object) || isCorrected(work, object),
  );

/** The track as it is stored, without what was said since; the session forgets it. */
export async function drop(work: VideoWork, object: number): Promise<void> {
  const known = !work.tracks.isResting(object);
  work.said = work.said.filter((one) => one.object !== object);
  work.tracks.restore(object);
  if (known) work.learn(await work.videos.remove(work.facts.name, object));
}

/** A correction without its last click: what was said before is said again. */
export async function renew(work: VideoWork, object: number): Promise<void> {
  const said = work.said;
  const frames = said.flatMap((one) => (one.object === object ? [one.frame] : []));
  await drop(work, object);
  work.said = said;
  for (const frame of new Set(frames)) await work.tell(object, frame);
}
