/** The project's side of an open video: its tracks, verdicts on them, and what is stored. */

import { nthColor, toHex } from "../canvas/colors";
import { framed } from "../store/clips";
import type { ClipEntry, Clips, TrackEntry, TrackVerdict } from "../store/clips";
import { StoreError } from "../store/store";
import { drop, isCorrected, unstored } from "./correcting";
import type { VideoWork } from "./videowork";

/** What can be undone: the last verdict on a track; or another name, where it was `named`. */
export interface TrackStep {
  track: TrackEntry; // as it was then
  named?: true;
}

export class ClipWork {
  entries: TrackEntry[] = []; // by their objects
  saving = 0; // requests under way that store something
  private since = performance.now(); // from when on the chosen object is looked at
  private watched = -1;

  /**
   * elsewhere  opens another clip, at an object of it
   * done       what can be undone, the newest last; of other clips, too
   */
  constructor(
    readonly clips: Clips,
    readonly entry: ClipEntry,
    private readonly work: VideoWork,
    private readonly elsewhere: (clip: number, object: number) => void,
    private readonly done: TrackStep[],
  ) {
    work.watchers.push(() => {
      if (work.chosen !== this.watched) this.since = performance.now();
      this.watched = work.chosen;
    });
  }

  of(object: number): TrackEntry | null {
    return this.entries.find((one) => one.object === object) ?? null;
  }

  get counts(): Record<TrackEntry["state"], number> {
    const counts = { proposed: 0, accepted: 0, rejected: 0 };
    for (const { state } of this.entries) counts[state]++;
    return counts;
  }

  private seconds(): number {
    return Math.round(performance.now() - this.since) / 1000;
  }

  /** Read every track of the clip; `object`, or the one that is asked about, is chosen. */
  async load(object: number | null = null): Promise<void> {
    const { work, clips, entry } = this;
    this.entries = await clips.tracks(entry.id);
    for (const { id, object } of this.entries) work.tracks.store(object, await clips.masks(id));
    if (!this.entries.length) return;
    work.objects = this.entries.map(({ object, label }, i) => ({
      ...{ number: object, name: label ?? "", color: toHex(nthColor(i)) },
    }));
    const asked = object === null ? await clips.next(entry.id, null) : this.of(object);
    work.chosen = (this.entries.find(({ id }) => id === asked?.id) ?? this.entries[0]).object;
  }

  /** Go to where a track begins. */
  async show(object: number): Promise<void> {
    this.work.chosen = object;
    await this.work.seek(this.of(object)?.first ?? 0);
    this.work.redraw();
  }

  // ------------------------------------------------------------------------------------ verdicts

  /** Accept or reject the chosen track, and go on to the next one. */
  async judge(verdict: Exclude<TrackVerdict, "correct">): Promise<void> {
    const { work } = this;
    const entry = this.of(work.chosen);
    if (this.saving) return;
    if (!entry)
      return work.say("The project has no track of this object yet. Press C to save the track.");
    if (isCorrected(work, entry.object)) {
      return work.say("Save the correction (C) or discard it (Esc) first.");
    }
    if (entry.state !== "proposed") {
      return work.say(`${work.nameOf(entry.object)} is already ${entry.state}. Press U to undo.`);
    }
    const done = await this.storing(async () => {
      this.learn(await this.clips.judge(entry, verdict, this.seconds()));
      this.done.push({ track: entry });
    });
    if (done) await this.next();
  }

  /** Keep the chosen object: the correction of a track, or a new object as a track. */
  async keep(): Promise<void> {
    const { work } = this;
    const object = work.chosen;
    const entry = this.of(object);
    if (this.saving) return;
    if (entry ? !isCorrected(work, object) : !work.tracks.all(object).length) {
      return work.say(entry ? "This track has no changes." : "Click the object first.");
    }
    await this.storing(async () => {
      if (await followed(work)) await (entry ? this.correct(entry) : this.add(object));
    });
  }

  private async correct(entry: TrackEntry): Promise<void> {
    const { work, clips } = this;
    const masks = framed(work.tracks.corrected(entry.object));
    if (!masks.length) return work.say("The masks are the same as the saved ones.");
    this.learn(await clips.judge(entry, "correct", this.seconds(), masks));
    this.done.push({ track: entry });
    await this.settle(entry.object);
    work.say(`${work.nameOf(entry.object)} is saved from frame ${masks[0].frame + 1} onward.`);
  }

  private async add(object: number): Promise<void> {
    const { work, clips, entry } = this;
    this.learn(await clips.keep(entry.id, draftOf(work, object, object, this.seconds())));
    await this.settle(object);
    this.work.say(`${this.work.nameOf(object)} is saved as a track of the project.`);
  }

  /** What is known of an object is what is stored, and nobody has to be asked about it. */
  private async settle(object: number): Promise<void> {
    const { work } = this;
    work.tracks.store(object, work.tracks.all(object));
    work.tracks.wake(object); // the session has it still
    await work.doing(() => drop(work, object));
  }

  /** The chosen track as it is stored, without the correction. */
  async dropCorrection(): Promise<void> {
    const { work } = this;
    const object = work.chosen;
    if (isCorrected(work, object)) await work.doing(() => drop(work, object));
  }

  /** Undo the last verdict on the chosen track, or the last one of all. */
  async removeVerdict(track = this.of(this.work.chosen)?.id ?? null): Promise<void> {
    const { work } = this;
    if (this.saving) return;
    if (track === null) return work.say("There is no review decision to undo.");
    await this.storing(async () => {
      const kept = await this.clips.removeVerdict(track);
      const step = this.done.findLastIndex(({ track: { id }, named }) => id === track && !named);
      if (step >= 0) this.done.splice(step, 1);
      if (kept.clip_id === this.entry.id) return this.learnAnew(kept);
      this.away(() => this.elsewhere(kept.clip_id, kept.object), true);
    });
  }

  /** The last step back: a click; where none is left the last verdict or name. */
  async undo(): Promise<void> {
    const last = this.done.at(-1);
    if (this.work.said.length || last === undefined) return this.work.undo();
    await (last.named ? this.nameBack(last) : this.removeVerdict(last.track.id));
  }

  // --------------------------------------------------------------------------------------- names

  /** Give a track of the project another name; "": none. */
  async rename(object: number, name: string): Promise<void> {
    const entry = this.of(object);
    const label = name || null;
    if (!entry || label === entry.label) return;
    const stored = await this.storing(async () => {
      this.learn(await this.clips.rename(entry, label));
      this.done.push({ track: entry, named: true });
    });
    if (!stored) this.work.change(object, { name: this.of(object)?.label ?? "" });
  }

  /** The name of before. */
  private async nameBack(step: TrackStep): Promise<void> {
    if (this.saving) return;
    const { id, label } = step.track;
    await this.storing(async () => {
      const now = this.entries.find((one) => one.id === id) ?? (await this.named(step.track));
      const kept = await this.clips.rename(now, label);
      this.done.splice(this.done.indexOf(step), 1);
      if (kept.clip_id !== this.entry.id) {
        return this.away(() => this.elsewhere(kept.clip_id, kept.object), true);
      }
      this.learn(kept);
      await this.show(kept.object);
    });
  }

  /** A track of another clip as it is now. */
  private async named({ id, clip_id }: TrackEntry): Promise<TrackEntry> {
    const tracks = await this.clips.tracks(clip_id);
    return tracks.find((one) => one.id === id)!;
  }

  /** The next track that nobody has judged, in this clip or in another one. */
  async next(): Promise<void> {
    const { work, entry } = this;
    const here = this.of(work.chosen)?.id ?? null;
    try {
      const asked = await this.clips.next(entry.id, here);
      if (!asked) return work.say("All tracks are reviewed.");
      if (asked.clip_id !== entry.id) {
        return this.away(() => this.elsewhere(asked.clip_id, asked.object));
      }
      if (asked.id === here) work.say("This is the last track to review.");
      if (!this.of(asked.object)) await this.learnAnew(asked);
      await this.show(asked.object);
    } catch (error) {
      work.say(`The next track could not be loaded. ${(error as Error).message}`);
    }
  }

  /** Leave the clip, once nothing is being stored; what is not stored is told of first. */
  away(go: () => void, stored = !this.saving): void {
    const { work } = this;
    const names = unstored(work).map((object) => work.nameOf(object));
    if (!stored) return work.say("Saving is still in progress.");
    if (!names.length) return go();
    const text = `${names.join(", ")}: not saved in the project. Press C to save the selected one.`;
    work.say(text, [{ title: "Leave without saving", run: go }]);
  }

  // ------------------------------------------------------------------------------------- storing

  private async storing(job: () => Promise<void>): Promise<boolean> {
    const { work } = this;
    this.saving++;
    work.changed();
    try {
      await job();
      return true;
    } catch (error) {
      await this.explain(error);
      return false;
    } finally {
      this.saving--;
      work.changed();
      work.redraw();
    }
  }

  private async explain(error: unknown): Promise<void> {
    const text = (error as Error).message;
    if (!(error instanceof StoreError) || error.kind !== "conflict") {
      return this.work.say(`Not saved. ${text}`);
    }
    const theirs = error.current as unknown as TrackEntry | null;
    if (!theirs || !this.of(theirs.object)) return this.work.say(`Not saved. ${text}`);
    const who = `Not saved. ${theirs.author} changed this track in the meantime.`;
    if (!isCorrected(this.work, theirs.object)) {
      await this.learnAnew(theirs);
      return this.work.say(`${who} The current version is shown.`);
    }
    this.learn(theirs); // the next correction is one of theirs
    const take = () => void this.storing(() => this.learnAnew(theirs));
    this.work.say(`${who} Press C to overwrite it.`, [{ title: "Use theirs", run: take }]);
  }

  /** A track as the server has it now. */
  private learn(entry: TrackEntry): void {
    const others = this.entries.filter(({ id }) => id !== entry.id);
    this.entries = [...others, entry].sort((a, b) => a.object - b.object);
    if (this.work.object(entry.object)) {
      return this.work.change(entry.object, { name: entry.label ?? "" });
    }
    const color = toHex(nthColor(entry.object));
    this.work.objects.push({ number: entry.object, name: entry.label ?? "", color });
  }

  /** A track that has other masks now. */
  private async learnAnew(entry: TrackEntry): Promise<void> {
    const { work } = this;
    const masks = await this.clips.masks(entry.id);
    if (isCorrected(work, entry.object)) await work.doing(() => drop(work, entry.object));
    work.tracks.store(entry.object, masks);
    this.learn(entry);
    await this.show(entry.object);
  }
}

/** Follow what is left; whether nothing is. */
async function followed(work: VideoWork): Promise<boolean> {
  if (work.left) await work.follow();
  if (work.left) work.say("Tracking is not complete. Press F to continue, then C to save.");
  return !work.left;
}

/** number  of the object in the project */
const draftOf = (work: VideoWork, object: number, number: number, seconds: number) => ({
  ...{ object: number, label: work.object(object)?.name || null, seconds },
  masks: framed(work.tracks.all(object)),
});

const kept = new WeakMap<VideoWork, Set<number>>(); // objects of videos that are no clips

/** Keep a video that is no clip of the project, and its objects as tracks; the clip. */
export async function keepVideo(work: VideoWork, clips: Clips): Promise<ClipEntry | null> {
  const objects = work.tracks.objects;
  if (!objects.length) {
    work.say("Click an object first.");
    return null;
  }
  if (!(await followed(work))) return null;
  const clip = await clips.take(work.title, work.facts.name);
  const taken = new Set((await clips.tracks(clip.id)).map(({ object }) => object));
  const done = kept.get(work) ?? new Set();
  kept.set(work, done); // where one is refused, the others are not kept twice
  for (const object of objects) {
    if (done.has(object)) continue;
    let number = object;
    while (taken.has(number)) number++;
    await clips.keep(clip.id, draftOf(work, object, number, 0));
    taken.add(number);
    done.add(object);
  }
  return clip;
}
