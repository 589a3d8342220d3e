/** The frames of a video as pictures: fetched once, the latest ones kept. */

import { Photo } from "../canvas/photo";

const MOST_PIXELS = 64e6; // of the pictures that are kept
const MOST = 48;

export class Pictures {
  private readonly held = new Set<number>(); // on the screen: they are not let go of
  private readonly kept = new Map<number, Promise<Photo>>(); // the one asked for last: last
  private size = 1; // pixels of a frame

  constructor(private readonly fetch: (frame: number) => Promise<Blob>) {}

  /** A frame; null where `stale` says that nobody waits for it any more. */
  async get(frame: number, stale: () => boolean = () => false): Promise<Photo | null> {
    await Promise.resolve();
    if (stale()) return null;
    return this.expect(frame);
  }

  /** A frame is on the screen, in place of another one. */
  hold(before: number | undefined, frame: number): void {
    if (before !== undefined) this.held.delete(before);
    this.held.add(frame);
  }

  /** Begin to fetch a frame. */
  expect(frame: number): Promise<Photo> {
    const known = this.kept.get(frame) ?? this.open(frame);
    this.kept.delete(frame);
    this.kept.set(frame, known);
    this.letGo();
    return known;
  }

  close(): void {
    for (const photo of this.kept.values()) void photo.then((one) => one.close()).catch(() => null);
    this.kept.clear();
  }

  private open(frame: number): Promise<Photo> {
    const coming = this.fetch(frame).then((blob) => Photo.open(blob));
    coming.then(
      ({ hw }) => (this.size = hw[0] * hw[1]),
      () => this.kept.delete(frame), // it is asked for again
    );
    return coming;
  }

  private letGo(): void {
    const most = Math.max(4, Math.min(MOST, MOST_PIXELS / this.size));
    for (const [frame, photo] of this.kept) {
      if (this.kept.size <= most) return;
      if (this.held.has(frame)) continue;
      this.kept.delete(frame);
      void photo.then((one) => one.close()).catch(() => null);
    }
  }
}
