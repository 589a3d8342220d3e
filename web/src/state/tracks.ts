/** What is known of the objects of a video: pure, without page and server. */

import type { CocoRle } from "../masks/rle";

export type ObjectState = "visible" | "occluded" | "lost" | "back";
export type Way = "forward" | "backward";
export type Stretch = readonly [first: number, last: number];

/** An object on a frame, as the server tells it. */
export interface Found {
  segmentation: CocoRle;
  area: number;
  score: number;
  state: ObjectState;
  doubts: readonly string[];
  prompted: boolean;
}

export interface Doubtful {
  frame: number;
  object: number;
  doubts: readonly string[];
}

/** A piece of an object's row: the most telling of what is known of some frames. */
export interface Cell {
  state: ObjectState | null; // null: not followed yet
  doubtful: boolean;
  prompted: boolean;
}

const TELLING: (ObjectState | null)[] = ["visible", null, "back", "occluded", "lost"];

const alike = (a: Found, b: Found | undefined): boolean =>
  a.prompted === b?.prompted &&
  a.state === b.state &&
  String(a.segmentation.counts) === String(b.segmentation.counts);

export class Tracks {
  private readonly found = new Map<number, Map<number, Found>>();
  private doubts: Doubtful[] | null = null; // worked out once, as long as nothing changes
  private readonly spoken = new Map<number, number[]>(); // as `doubts`: see `prompted`

  private readonly base = new Map<number, ReadonlyMap<number, Found>>(); // as the project has them
  private readonly resting = new Set<number>(); // of those, the ones that the session does not know

  /** Masks that the project keeps; the session need not know them. */
  store(object: number, masks: Iterable<readonly [number, Found]>): void {
    this.changed(object);
    const known = new Map(masks);
    this.base.set(object, known);
    this.found.set(object, new Map(known));
    this.resting.add(object);
  }

  /** The masks of a stored object as they are stored. */
  restore(object: number): void {
    this.store(object, this.base.get(object) ?? []);
  }

  isStored(object: number): boolean {
    return this.base.has(object);
  }

  isResting(object: number): boolean {
    return this.resting.has(object);
  }

  /** The session knows a stored object from now on. */
  wake(object: number): void {
    this.changed(object);
    this.resting.delete(object);
  }

  /** All that is known of an object, in the order of the video. */
  all(object: number): [number, Found][] {
    return [...(this.found.get(object) ?? [])].sort(([a], [b]) => a - b);
  }

  /** What is known of a stored object from the first to the last frame that is another one. */
  corrected(object: number): [number, Found][] {
    const base = this.base.get(object);
    const now = this.all(object);
    const other = now.filter(([frame, found]) => !alike(found, base?.get(frame)));
    const [first, last] = [other[0]?.[0] ?? Infinity, other.at(-1)?.[0] ?? -1];
    return now.filter(([frame]) => first <= frame && frame <= last);
  }

  get objects(): number[] {
    return [...this.found.keys()].sort((a, b) => a - b);
  }

  add(object: number, frame: number, found: Found): void {
    this.changed(object);
    if (!this.found.has(object)) this.found.set(object, new Map());
    this.found.get(object)!.set(frame, found);
  }

  /** Forget what was found of an object on other frames than these. */
  keep(object: number, known: readonly Stretch[]): void {
    if (this.resting.has(object)) return;
    this.changed(object);
    const frames = this.found.get(object);
    for (const frame of [...(frames?.keys() ?? [])]) {
      if (!known.some(([first, last]) => first <= frame && frame <= last)) frames!.delete(frame);
    }
    if (!frames?.size) this.found.delete(object);
  }

  remove(object: number): void {
    this.changed(object);
    this.found.delete(object);
  }

  private changed(object: number): void {
    this.doubts = null;
    this.spoken.delete(object);
  }

  of(object: number, frame: number): Found | null {
    return this.found.get(object)?.get(frame) ?? null;
  }

  at(frame: number): [object: number, found: Found][] {
    return this.objects.flatMap((object) => {
      const found = this.of(object, frame);
      return found ? [[object, found] as [number, Found]] : [];
    });
  }

  /** The frames on which somebody spoke of an object, in order. */
  prompted(object: number): readonly number[] {
    const known = this.spoken.get(object);
    if (known) return known;
    const frames = [...(this.found.get(object) ?? [])];
    const spoken = frames.flatMap(([frame, { prompted }]) => (prompted ? [frame] : []));
    spoken.sort((a, b) => a - b);
    this.spoken.set(object, spoken);
    return spoken;
  }

  /** The frames of an object that are to be followed this way, in the order of the video. */
  private missing(object: number, way: Way, length: number): number[] {
    const prompted = this.prompted(object);
    if (!prompted.length || this.resting.has(object)) return [];
    const [first, end] = way === "forward" ? [prompted[0], length] : [0, prompted.at(-1)!];
    const known = this.found.get(object)!;
    const frames: number[] = [];
    for (let frame = first; frame < end; frame++) if (!known.has(frame)) frames.push(frame);
    return frames;
  }

  /** Where following begins and ends; null where nothing is left to do this way. */
  span(way: Way, length: number): { start: number; stop: number } | null {
    let [low, high] = [Infinity, -Infinity];
    for (const object of this.objects) {
      const frames = this.missing(object, way, length);
      if (!frames.length) continue;
      low = Math.min(low, frames[0]);
      high = Math.max(high, frames.at(-1)!);
    }
    if (high < 0) return null;
    return way === "forward" ? { start: low, stop: high } : { start: high, stop: low };
  }

  /** How many frames are left to follow, of the object with the most. */
  left(ways: readonly Way[], length: number): number {
    const counts = this.objects.map(
      (object) => new Set(ways.flatMap((way) => this.missing(object, way, length))).size,
    );
    return Math.max(0, ...counts);
  }

  /** What a person should look at, in the order of the video. */
  doubtful(): readonly Doubtful[] {
    if (this.doubts) return this.doubts;
    const all = this.objects.flatMap((object) =>
      [...this.found.get(object)!].flatMap(([frame, { doubts, prompted }]) =>
        doubts.length && !prompted ? [{ frame, object, doubts }] : [],
      ),
    );
    this.doubts = all.sort((a, b) => a.frame - b.frame || a.object - b.object);
    return this.doubts;
  }

  /** The row of an object in so many cells, each of which stands for some of the frames from
   * `begin` on. */
  cells(object: number, length: number, count: number, begin = 0): Cell[] {
    const known = this.found.get(object);
    return Array.from({ length: count }, (_, i) => {
      const first = begin + Math.floor((i * length) / count);
      const last = Math.max(first, begin + Math.floor(((i + 1) * length) / count) - 1);
      const cell: Cell = { state: "visible", doubtful: false, prompted: false };
      for (let frame = first; frame <= last; frame++) {
        const found = known?.get(frame);
        const state = found?.state ?? null;
        if (TELLING.indexOf(state) > TELLING.indexOf(cell.state)) cell.state = state;
        cell.prompted ||= found?.prompted ?? false;
        cell.doubtful ||= !!found?.doubts.length && !found.prompted;
      }
      return cell;
    });
  }
}
