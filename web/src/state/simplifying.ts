/**
 * Simplifying outlines: of the picked masks of an image, of the chosen object's mask on a frame of a
 * video. Tried with a tolerance, seen, then one step.
 */

import { tracePatch, type Ring } from "../masks/outline";
import { simplifiedMask, type Simple } from "../masks/simplify";
import { patchToRle, rleToPatch, type Patch } from "../masks/patch";
import { cocoToRle, rleArea, rleCombine, rleToCoco, type Rle } from "../masks/rle";
import type { Size } from "../model/geometry";
import type { Session } from "./session";
import { shaped } from "./shaping";
import type { Found } from "./tracks";
import type { VideoWork } from "./videowork";
import { isEmpty, type Mask } from "./work";

const LARGEST = 1 / 50; // of the image's longer side: the most that outlines may move

/** Where masks are picked: an image, or a frame of a video. */
interface Place<T> {
  readonly hw: Size | null; // null: nothing is open
  begin(): readonly T[]; // what is to be simplified; where it is nothing, it has said why
  still(): readonly T[]; // what of that is there still
  rleOf(mask: T): Rle;
  take(made: ReadonlyMap<T, Rle>): void; // the new shapes, as one step
  say(text: string): void;
  changed(): void;
}

/** A picked mask, and what becomes of it. */
interface Tried<T = unknown> extends Simple {
  mask: T;
  given: Rle;
  was: Patch;
  traced: readonly Ring[];
  rle: Rle; // as it would be
}

/** What simplifying costs and brings, of all picked masks together. */
interface Loss {
  changed: number; // pixels that come or go, as a share of the masks' area
  before: number; // corners, along the pixels
  corners: number; // that are left
}

export class Simplifying<T = unknown> {
  tolerance = 2; // pixels of the image; stays for the next mask
  tried: readonly Tried<T>[] = [];
  loss: Loss = { changed: 0, before: 0, corners: 0 };

  constructor(private readonly place: Place<T>) {}

  get open(): boolean {
    return this.tried.length > 0;
  }

  /** The largest tolerance for the open image, in pixels. */
  get most(): number {
    return Math.max(10, Math.round(Math.max(...(this.place.hw ?? [0])) * LARGEST));
  }

  /** Try it with the picked masks. */
  start(): void {
    const chosen = this.place.begin();
    if (!chosen.length) return;
    this.tried = chosen.map((mask) => {
      const given = this.place.rleOf(mask);
      const was = rleToPatch(given);
      const traced = tracePatch(was);
      return { mask, given, was, traced, patch: was, rings: traced, rle: given };
    });
    this.to(Math.min(this.tolerance, this.most));
  }

  /** Try it with another tolerance, in pixels. */
  to(tolerance: number): void {
    this.tolerance = tolerance;
    this.tried = this.tried.map((one) => {
      const made = simplifiedMask(one.was, one.traced, tolerance);
      return {
        ...one,
        ...made,
        rle: made.patch === one.was ? one.given : patchToRle(made.patch),
      };
    });
    this.loss = lossOf(this.tried);
    this.place.changed();
  }

  /** Give the masks their new shapes, in one step. */
  apply(): void {
    this.follow();
    if (!this.open) return;
    const made = new Map(
      this.tried.filter((one) => changedOf(one) > 0).map((one) => [one.mask, one.rle]),
    );
    this.tried = [];
    const { place } = this;
    if (made.size) place.take(made);
    else place.say("No pixels change with this tolerance.");
    place.changed();
  }

  cancel(): void {
    this.tried = [];
    this.place.changed();
  }

  /** What was picked is no longer: there is nothing to simplify. */
  follow(): void {
    const still = this.place.still();
    const same = still.length === this.tried.length;
    if (!same || this.tried.some(({ mask }, i) => mask !== still[i])) this.tried = [];
  }
}

function lossOf(tried: readonly Tried[]): Loss {
  const sum = (of: (one: Tried) => number) => tried.reduce((all, one) => all + of(one), 0);
  const corners = (rings: readonly Ring[]) => rings.reduce((all, ring) => all + ring.length, 0);
  return {
    changed: sum(changedOf) / (sum(({ given }) => rleArea(given)) || 1),
    before: sum(({ traced }) => corners(traced)),
    corners: sum(({ rings }) => corners(rings)),
  };
}

/** Pixels that come or go. */
function changedOf({ given, rle }: Tried): number {
  if (rle === given) return 0;
  const area = (first: Rle, second: Rle) => rleArea(rleCombine(first, second, "minus"));
  return area(given, rle) + area(rle, given);
}

/** The picked masks of the open image. */
export function picked(session: Session): Place<Mask> {
  return {
    get hw() {
      return session.editor?.hw ?? null;
    },
    begin: () => {
      const { editor } = session;
      const chosen = editor?.selection ?? [];
      const no = (text: string) => (session.say(text), []);
      if (!editor || !chosen.length) return no("First select the mask to simplify (O).");
      if (session.review) return no("Accept or reject the mask under review first.");
      if (!isEmpty(editor.draft)) return no("Keep the current mask first (Enter).");
      return editor.free(chosen) ? chosen : [];
    },
    still: () => {
      const { editor, review } = session;
      return editor && isEmpty(editor.draft) && !review ? editor.selection : [];
    },
    rleOf: ({ rle }) => rle,
    take: (made) => {
      session.editor?.change("simplify", (mask) => {
        const rle = made.get(mask);
        return rle ? shaped(mask, rle) : {};
      });
    },
    say: (text) => session.say(text),
    changed: () => session.changed(),
  };
}

/** The chosen object's mask on the frame that is shown; another shape is a correction there. */
export function onFrame(work: VideoWork): Place<Found> {
  const here = () => {
    const found = work.shown && work.tracks.of(work.chosen, work.shown.frame);
    return found?.area && !work.asking && !work.playing ? [found] : [];
  };
  return {
    get hw() {
      return work.facts.size;
    },
    begin: () => {
      work.stop();
      work.along = false; // the frame stays while it is followed
      const found = here();
      const name = work.nameOf(work.chosen);
      if (work.asking) work.say("The mask is still loading.");
      else if (!found.length) work.say(`${name} has no mask on this frame.`);
      return found;
    },
    still: here,
    rleOf: ({ segmentation }) => cocoToRle(segmentation),
    take: (made) => {
      for (const rle of made.values()) void work.speak(null, null, rleToCoco(rle));
    },
    say: (text) => work.say(text),
    changed: () => {
      work.changed();
      work.redraw();
    },
  };
}
