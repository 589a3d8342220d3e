/** The frames of a video as images: fetched once, the latest ones kept. */

import { TiledImage } from "../canvas/tiled_image";

const MOST_PIXELS = 64e6; // of the images that are kept
const MOST = 48;

export class FrameCache {
  private readonly held = new Set<number>(); // on the screen: they are not let go of
  private readonly kept = new Map<number, Promise<TiledImage>>(); // the one asked for last: last
  private size = 1; // pixels of a frame

  constructor(private readonly fetch: (frame: number) => Promise<Blob>) {}

  /** A frame; null where `stale` says that nobody waits for it any more. */
  async get(frame: number, stale: () => boolean = () => false): Promise<TiledImage | null> {
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
  expect(frame: number): Promise<TiledImage> {
    const known = this.kept.get(frame) ?? this.open(frame);
    this.kept.delete(frame);
    this.kept.set(frame, known);
    this.letGo();
    return known;
  }

  close(): void {
    for (const image of this.kept.values()) void image.then((one) => one.close()).catch(() => null);
    this.kept.clear();
  }

  private open(frame: number): Promise<TiledImage> {
    const coming = this.fetch(frame).then((blob) => TiledImage.open(blob));
    coming.then(
      ({ hw }) => (this.size = hw[0] * hw[1]),
      () => this.kept.delete(frame), // it is asked for again
    );
    return coming;
  }

  private letGo(): void {
    const most = Math.max(4, Math.min(MOST, MOST_PIXELS / this.size));
    for (const [frame, image] of this.kept) {
      if (this.kept.size <= most) return;
      if (this.held.has(frame)) continue;
      this.kept.delete(frame);
      void image.then((one) => one.close()).catch(() => null);
    }
  }
}
