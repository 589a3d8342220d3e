/** What of a video is on the screen: where one is in it, how it is played, what is told. */

import type { TiledImage } from "../canvas/tiled_image";
import type { View } from "../canvas/view";
import type { XY } from "../model/geometry";
import { frameAt, secondsOf, type VideoFacts, type Videos } from "../store/videos";
import { FrameCache } from "./frame_cache";
import { Speaker } from "./speaker";

/** A frame with its image, and the number of that among the images. */
export interface Shown {
  frame: number;
  image: TiledImage;
  imageNumber: number;
}

export abstract class Screen extends Speaker {
  /** Nouns for messages: a part of the medium, and the whole. */
  readonly words: Readonly<{ part: string; whole: string }> = { part: "frame", whole: "video" };
  readonly frameCache: FrameCache;
  frame = 0; // where one is
  shown: Shown | null = null; // what is on the screen
  along = false; // the frame that was found last is shown
  playing = false;
  redraw: () => void = () => undefined;
  closed = false; // its page is gone

  constructor(
    readonly videos: Videos,
    public facts: VideoFacts,
    readonly title: string,
    readonly view: View,
  ) {
    super();
    this.frameCache = new FrameCache((frame) => videos.frameImage(facts.name, frame));
  }

  protected abstract fail(error: unknown, before?: string): void;

  get length(): number {
    return this.facts.frames;
  }

  /** The first and the last frame that one can go to by steps. */
  get first(): number {
    return 0;
  }

  get last(): number {
    return this.first + this.length - 1;
  }

  // What a scan has instead (`VolumeWork`).

  /** A frame as people count. */
  numberOf(frame: number): number {
    return frame + 1;
  }

  /** What is said of it beside its name. */
  get about(): string {
    const { rate, size } = this.facts;
    return `${size[1]} × ${size[0]}, ${Number(rate.toFixed(2))} frames/s`;
  }

  /** Show where one begins. */
  begin(): Promise<void> {
    return this.seek(this.first);
  }

  /** What a frame is called in a list. */
  label(frame: number): string {
    return String(frame + 1);
  }

  /** Where a frame is; for the eye, and for a screen reader. */
  where(frame: number): string {
    return `${frame + 1} / ${this.length} · ${secondsOf(this.facts, frame).toFixed(2)} s`;
  }

  spoken(frame: number): string {
    const seconds = secondsOf(this.facts, frame).toFixed(2);
    return `Frame ${frame + 1} of ${this.length}, ${seconds} s`;
  }

  /** Height of a pixel of a frame, in its widths. */
  tallAt(_frame: number): number {
    return 1;
  }

  /** Where lines are drawn across a frame. */
  linesAt(_frame: number): XY | null {
    return null;
  }

  /** What a turn of the wheel does; whether it does something. */
  wheel(_lines: number): boolean {
    return false;
  }

  /** What dragging with the tool of the window does; screen pixels. */
  drag(_dx: number, _dy: number): void {}

  /** The keyboard's crosshair was moved. */
  cross(_at: XY): void {}

  /** The number of a frame's image among the images. */
  protected imageNumberOf(frame: number): number {
    return frame;
  }

  // --------------------------------------------------------------------------------- the frames

  /** Go to a frame; its image is shown as soon as it is there. */
  async seek(frame: number, along = false): Promise<void> {
    this.frame = Math.max(this.first, Math.min(this.last, Math.round(frame)));
    this.along = along;
    this.changed();
    const wanted = this.frame;
    const imageNumber = this.imageNumberOf(wanted);
    const stale = () => wanted !== this.frame || imageNumber !== this.imageNumberOf(wanted);
    try {
      const image = await this.frameCache.get(imageNumber, stale);
      if (!image || this.closed || stale()) return;
      this.frameCache.hold(this.shown?.imageNumber, imageNumber);
      this.shown = { frame: wanted, image, imageNumber };
      this.changed();
      this.redraw();
    } catch (error) {
      if (this.closed || wanted !== this.frame) return;
      const { part } = this.words;
      const name = part[0].toUpperCase() + part.slice(1);
      this.fail(error, `${name} ${this.numberOf(wanted)} cannot be shown. `);
    }
  }

  /** Go so many frames on, or back. */
  step(count: number): Promise<void> {
    return this.seek(Math.max(this.first, Math.min(this.last, this.frame + count)));
  }

  /** Play to the end, at the video's own speed; frames that come too late are left out. */
  async play(): Promise<void> {
    if (this.playing) return this.stop();
    if (this.frame >= this.last) await this.seek(this.first);
    this.playing = true;
    this.changed();
    let [since, from] = [performance.now(), this.frame];
    while (this.playing && !this.closed && this.frame < this.last) {
      const begun = secondsOf(this.facts, from);
      const due = frameAt(this.facts, begun + (performance.now() - since) / 1000);
      const next = Math.min(this.last, Math.max(this.frame + 1, due));
      for (let ahead = next; ahead < next + 4 && ahead <= this.last; ahead++) {
        this.frameCache.expect(this.imageNumberOf(ahead));
      }
      const wait = since + 1000 * (secondsOf(this.facts, next) - begun) - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      if (!this.playing) break;
      await this.seek(next);
      if (next !== this.frame) [since, from] = [performance.now(), this.frame]; // somebody sought
    }
    this.stop();
  }

  stop(): void {
    this.playing = false;
    this.changed();
  }
}
