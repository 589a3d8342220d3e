/** Fingers on an image: one is a pointer, two move and zoom the image and are no click. */

import type { XY } from "../model/geometry";
import { placeIn, type View } from "./view";

const STILL = 8; // screen pixels by which a finger that means a place may move

/** Hears a mouse and a pen at once, a finger when it is clear that it is alone. */
interface Hearer {
  down(event: PointerEvent): void;
  moved(event: PointerEvent): void;
  up(event: PointerEvent): void;
  dropped(event: PointerEvent): void;
  viewed(): void; // the view has changed
}

export class Fingers {
  several = false; // there were two, and not all have been lifted
  private readonly places = new Map<number, XY>();
  private waiting: PointerEvent | null = null; // a finger that may be the first of two

  constructor(
    private readonly view: View,
    private readonly hearer: Hearer,
  ) {}

  listen(element: HTMLElement): void {
    element.addEventListener("pointerdown", (event) => this.down(event, placeIn(element, event)));
    element.addEventListener("pointermove", (event) => this.moved(event, placeIn(element, event)));
    element.addEventListener("pointerup", (event) => this.up(event));
    element.addEventListener("pointercancel", (event) => this.dropped(event));
  }

  down(event: PointerEvent, place: XY): void {
    if (event.pointerType !== "touch") return this.hearer.down(event);
    const alone = !this.places.size;
    if (!alone && !this.waiting && !this.several) return; // the first one draws already
    this.places.set(event.pointerId, place);
    this.several ||= !alone;
    this.waiting = alone ? event : null;
  }

  moved(event: PointerEvent, place: XY): void {
    if (event.pointerType !== "touch") return this.hearer.moved(event);
    const first = this.places.get(event.pointerId);
    if (!first) return;
    if (this.several) return this.pinch(event.pointerId, place);
    if (this.waiting && Math.hypot(place[0] - first[0], place[1] - first[1]) < STILL) return;
    this.begin();
    this.hearer.moved(event);
  }

  up(event: PointerEvent): void {
    if (event.pointerType !== "touch") return this.hearer.up(event);
    if (!this.lifted(event)) return;
    this.begin();
    this.hearer.up(event);
  }

  dropped(event: PointerEvent): void {
    const alone = event.pointerType !== "touch" || this.lifted(event);
    if (alone && !this.waiting) this.hearer.dropped(event);
    this.waiting = null;
  }

  private begin(): void {
    if (this.waiting) this.hearer.down(this.waiting);
    this.waiting = null;
  }

  /** Whether the finger was one that is a pointer. */
  private lifted({ pointerId }: PointerEvent): boolean {
    const alone = this.places.delete(pointerId) && !this.several;
    if (!this.places.size) this.several = false;
    return alone;
  }

  /** The view follows two fingers. */
  private pinch(id: number, place: XY): void {
    const before = this.pair();
    this.places.set(id, place);
    const after = this.pair();
    if (!before || !after) return;
    const { view } = this;
    view.pan(after.middle[0] - before.middle[0], after.middle[1] - before.middle[1]);
    view.zoomTo((view.scale * after.apart) / before.apart, after.middle);
    this.hearer.viewed();
  }

  /** The middle between the first two, and how far they are apart. */
  private pair(): { middle: XY; apart: number } | null {
    const [a, b] = this.places.values();
    if (!b) return null;
    const apart = Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
    return { middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], apart };
  }
}
