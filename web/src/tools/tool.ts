/** What a tool is: it hears the pointer and the keyboard, and draws over the image. */

import type { Surface, View } from "../canvas/view";
import { clamp, type XY } from "../model/geometry";
import type { Editor } from "../state/editor";
import type { Session } from "../state/session";

/** A place on the image that was pointed at. */
export interface Pointed {
  at: XY; // in pixels of the image, not rounded
  screen: XY;
  negative: boolean; // Shift, or the right button
  when: number; // performance.now() of the event
}

export interface Bench {
  session: Session;
  editor: Editor;
  view: View;
  drawn(): void; // draw what lies over the image, now
  answered(when: number): void; // the preview of that time's place is there: draw it
}

export interface Tool {
  readonly cursor: string;
  start?(bench: Bench): void;
  down?(pointed: Pointed, bench: Bench): void;
  move?(pointed: Pointed, bench: Bench, pressed: boolean): void;
  /** Every place of the pointer, as soon as it is known; nothing is drawn for it. */
  aim?(pointed: Pointed, bench: Bench): void;
  up?(pointed: Pointed, bench: Bench): void;
  double?(pointed: Pointed, bench: Bench): void;
  /** The keyboard's click at the crosshair. */
  press?(pointed: Pointed, bench: Bench): void;
  /** Enter, Delete or Escape; true where the tool had a use for it. */
  key?(key: string, bench: Bench): boolean;
  draw?(on: Surface, bench: Bench): void;
}

/** Whether a place lies on the image. */
export function onImage([x, y]: XY, editor: Editor): boolean {
  return x >= 0 && y >= 0 && x < editor.hw[1] && y < editor.hw[0];
}

/** The nearest place on the image. */
export function clipped([x, y]: XY, editor: Editor): XY {
  return [clamp(x, 0, editor.hw[1]), clamp(y, 0, editor.hw[0])];
}
