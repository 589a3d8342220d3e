/** The open video: its objects, what was said of them, what is known, how it is followed. */

import { fromHex, nthColor, toHex, type Rgb } from "../canvas/colors";
import type { VideoFacts } from "../store/videos";
import type { ClipWork } from "./clipwork";
import { isBegun, renew, wake } from "./correcting";
import { promptOf, waysOf } from "./said";
import type { Direction, VideoObject, VideoTool, KeptVideo, Said } from "./said";
import { Screen } from "./screen";
import { Simplifying, onFrame } from "./simplifying";
import { Tracks, type Doubtful, type Found, type Way } from "./tracks";

export class VideoWork extends Screen {
  readonly tracks = new Tracks();
  readonly simplifying = new Simplifying(onFrame(this));
  objects: VideoObject[] = [{ number: 1, name: "", color: toHex(nthColor(0)) }];
  chosen = 1; // the object that clicks are about
  said: Said[] = [];
  toolName: VideoTool = "point";
  subtracting: number | null = null; // the object that clicks take away from; for fingers
  direction: Direction = "forward";
  following: Way | null = null;
  private shownError: string | null = null; // of the file, which may be known from the start
  asking = 0; // requests under way about clicks
  reopen: (() => void) | null = null; // the clip, in a new session
  clip: ClipWork | null = null; // the project's side of the video
  leave: () => void = () => undefined; // the page shows the images again
  ended = false; // the server has closed the session
  private work: Promise<void> = Promise.resolve();
  protected pausing = false;
  private stream: Promise<void> = Promise.resolve();

  /** The masks that are drawn on a frame. */
  masksAt(frame: number): [object: number, found: Found][] {
    return this.tracks.at(frame);
  }

  /** What is left to follow, in words. */
  get leftText(): string {
    return this.left === 1 ? " 1 frame" : ` ${this.left} frames`;
  }

  object(number: number): VideoObject | null {
    return this.objects.find((one) => one.number === number) ?? null;
  }

  nameOf(number: number): string {
    const name = this.object(number)?.name;
    if (!name) return `Object ${number}`;
    const alone = !this.objects.some((one) => one.name === name && one.number !== number);
    return alone ? name : `${name} ${number}`;
  }

  color = (number: number): Rgb => fromHex(this.object(number)?.color ?? "#ffffff");

  /** What is to be looked at; of a clip, where one track is judged at a time, of the chosen one. */
  get doubts(): readonly Doubtful[] {
    const all = this.tracks.doubtful();
    return this.clip ? all.filter(({ object }) => object === this.chosen) : all;
  }

  /** The next frame that a person should look at, or the one before. */
  async seekDoubtful(step: 1 | -1): Promise<void> {
    const frames = [...new Set(this.doubts.map(({ frame }) => frame))];
    const next =
      step > 0
        ? frames.find((frame) => frame > this.frame)
        : frames.findLast((frame) => frame < this.frame);
    if (next !== undefined) return this.seek(next);
    const where = step > 0 ? "after" : "before";
    this.say(`There is no ${this.words.part} to review ${where} this one.`);
  }

  // -------------------------------------------------------------------------------- the objects

  addObject(): void {
    const empty = this.objects.find(
      ({ number }) =>
        !this.tracks.isStored(number) && !this.said.some(({ object }) => object === number),
    );
    if (empty) {
      this.chosen = empty.number;
      return this.changed();
    }
    const number = Math.max(0, ...this.objects.map((one) => one.number)) + 1;
    this.objects.push({ number, name: "", color: toHex(nthColor(number - 1)) });
    this.chosen = number;
    this.changed();
  }

  change(number: number, change: Partial<VideoObject>): void {
    this.objects = this.objects.map((one) => (one.number === number ? { ...one, ...change } : one));
    this.changed();
    this.redraw();
  }

  removeObject(number: number): Promise<void> {
    if (this.tracks.isStored(number)) {
      this.say("This track is saved in the project. Press R to reject it.");
      return Promise.resolve();
    }
    return this.doing(async () => {
      if (this.said.some((one) => one.object === number) || this.tracks.objects.includes(number)) {
        this.learn(await this.videos.remove(this.facts.name, number));
      }
      this.tracks.remove(number);
      this.said = this.said.filter((one) => one.object !== number);
      this.objects = this.objects.filter((one) => one.number !== number);
      if (!this.objects.length) this.addObject();
      if (!this.object(this.chosen)) this.chosen = this.objects[0].number;
    });
  }

  /** Say what is meant on the frame that is shown: a click, a box, a mask of the chosen object. */
  speak(point: Said["point"], box: Said["box"] = null, mask: Said["mask"] = null): Promise<void> {
    const frame = this.shown?.frame ?? this.frame;
    const one: Said = { object: this.chosen, frame, point, box, mask };
    if (point && !point[2] && !isBegun(this, one.object)) {
      this.say("Click the object first, then use Shift + click for background.");
      return Promise.resolve();
    }
    this.stop();
    this.along = false;
    this.said.push(one);
    this.redraw();
    return this.doing(async () => {
      try {
        await this.tell(one.object, one.frame);
      } catch (error) {
        this.said = this.said.filter((other) => other !== one);
        throw error;
      }
    });
  }

  /** Take back what was said last, wherever that was. */
  async undo(): Promise<void> {
    const last = this.said.at(-1);
    if (!last) return this.say("There is no click to undo.");
    this.said = this.said.slice(0, -1);
    this.chosen = last.object;
    void this.seek(last.frame);
    await this.doing(async () => {
      try {
        if (this.tracks.isStored(last.object)) await renew(this, last.object);
        else await this.tell(last.object, last.frame);
      } catch (error) {
        this.said.push(last);
        throw error;
      }
    });
  }

  /** Hand the server what was said of an object on a frame, or that nothing is said any more. */
  async tell(object: number, frame: number): Promise<void> {
    const prompt = promptOf(this.said, object, frame);
    if (!prompt) {
      this.learn(await this.videos.removePrompts(this.facts.name, object, frame));
      return;
    }
    await wake(this, object);
    const { known, ...found } = await this.videos.prompt(this.facts.name, prompt);
    this.tracks.add(object, frame, found);
    this.tracks.keep(object, known);
  }

  learn(facts: VideoFacts): void {
    this.facts = facts;
    for (const object of this.tracks.objects) {
      this.tracks.keep(object, facts.known[object] ?? []);
    }
    if (this.frame >= facts.frames) this.frame = Math.max(0, facts.frames - 1);
  }

  /** One thing after the other; following pauses meanwhile and goes on afterwards. */
  doing(job: () => Promise<void>): Promise<void> {
    const was = this.following;
    this.asking++;
    this.changed();
    this.work = this.work.then(async () => {
      try {
        await this.pause();
        await job();
      } catch (error) {
        this.fail(error);
      } finally {
        this.asking--;
      }
      this.changed();
      this.redraw();
      if (was && !this.asking) void this.follow();
    });
    return this.work;
  }

  protected fail(error: unknown, before = ""): void {
    const text = (error as Error).message;
    if (/session .* does not exist or was closed/.test(text)) {
      this.ended = true;
      const actions = this.reopen ? [{ title: "Open it again", run: this.reopen }] : [];
      const { whole } = this.words;
      this.say(
        `The server has closed the session of this ${whole}. Open the ${whole} again.`,
        actions,
      );
    } else this.say(before + text);
  }

  // ------------------------------------------------------------------------------------ following

  /** How many frames are left to follow. */
  get left(): number {
    return this.tracks.left(waysOf(this.direction), this.length);
  }

  /** Follow the objects until nothing is left to do, or until it is paused. */
  async follow(): Promise<void> {
    await this.work;
    if (this.following || this.ended) return this.stream;
    if (!this.tracks.objects.length) {
      return this.say("Click an object first, then track it.");
    }
    if (!this.left) {
      return this.say(
        this.length < 2
          ? `This ${this.words.whole} has only one ${this.words.part}. Tracking ` +
              `requires at least two.`
          : `Every ${this.words.part} is tracked. Click on any ${this.words.part} to correct ` +
              "the following ones.",
      );
    }
    this.stop();
    this.along = true;
    this.pausing = false;
    this.following = waysOf(this.direction)[0];
    this.stream = this.followAll();
    return this.stream;
  }

  private async followAll(): Promise<void> {
    try {
      await this.followWays();
      this.learn(await this.videos.getState(this.facts.name));
    } catch (error) {
      this.fail(error);
    }
    this.following = null;
    if (this.facts.error !== this.shownError) this.say(`${(this.shownError = this.facts.error)}.`);
    this.changed();
    this.redraw();
  }

  protected async followWays(): Promise<void> {
    for (const way of waysOf(this.direction)) {
      const span = this.tracks.span(way, this.length);
      if (!span || this.pausing) continue;
      this.following = way;
      await this.followOne(way, span.start, span.stop);
    }
  }

  protected async followOne(way: Direction, start: number, stop: number): Promise<void> {
    for await (const { frame, objects } of this.videos.follow(this.facts.name, way, start, stop)) {
      for (const { object, ...found } of objects) this.tracks.add(object, frame, found);
      if (this.along) void this.seek(frame, true);
      else this.changed();
      if (frame === this.shown?.frame) this.redraw();
      if (this.pausing) break; // what the server found meanwhile is asked for again
    }
  }

  /** Pause the following; what is done stays. */
  async pause(): Promise<void> {
    if (!this.following) return;
    this.pausing = true;
    await this.videos.pause(this.facts.name);
    await this.stream;
  }

  // ------------------------------------------------------------------------------------- keeping

  get kept(): KeptVideo {
    const { title, objects, said, frame } = this;
    const clip = this.clip?.entry.id ?? null;
    return { name: this.facts.name, title, objects, said, frame, clip, chosen: this.chosen };
  }

  /** Go on where a reload has left the video. */
  async restore(kept: KeptVideo): Promise<void> {
    this.objects = kept.objects;
    this.chosen = kept.chosen;
    this.said = kept.said;
    await this.videos.pause(this.facts.name);
    for await (const { frame, objects } of this.videos.results(this.facts.name)) {
      for (const { object, ...found } of objects) {
        if (this.tracks.isResting(object)) this.tracks.wake(object);
        this.tracks.add(object, frame, found);
      }
    }
    this.learn(await this.videos.getState(this.facts.name));
    await this.seek(kept.frame);
  }

  /** Ask the server about the session, which keeps it open. */
  async greet(): Promise<void> {
    if (this.ended || this.following || this.asking) return;
    try {
      const { seconds_left: left } = await this.videos.getState(this.facts.name);
      if (left < LATE) {
        const minutes = Math.max(1, Math.round(left / 60));
        this.say(`The server closes this session in ${minutes} minutes. Export your results.`);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    this.stop();
    this.frameCache.close();
    await this.videos.end(this.facts.name);
  }
}

const LATE = 540; // seconds before a session ends: said while less is left than after any question
