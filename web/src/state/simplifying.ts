/** Simplifying the outlines of the picked masks: tried with a tolerance, seen, then one step. */

import { tracePatch } from "../masks/outline";
import type { Ring } from "../masks/outline";
import { simplifiedMask } from "../masks/simplify";
import type { Simple } from "../masks/simplify";
import { patchToRle, rleToPatch } from "../masks/patch";
import type { Patch } from "../masks/patch";
import { rleArea, rleCombine } from "../masks/rle";
import type { Rle } from "../masks/rle";
import type { Session } from "./session";
import { shaped } from "./shaping";
import { isEmpty } from "./work";
import type { Mask } from "./work";

const LARGEST = 1 / 50; // of the photo's longer side: the most that outlines may move

/** A picked mask, and what becomes of it. */
export interface Tried extends Simple {
  mask: Mask;
  was: Patch;
  traced: readonly Ring[];
  rle: Rle; // as it would be
}

/** What simplifying costs and brings, of all picked masks together. */
export interface Loss {
  changed: number; // pixels that come or go, as a share of the masks' area
  before: number; // corners, along the pixels
  corners: number; // that are left
}

export class Simplifying {
  tolerance = 2; // pixels of the photo; stays for the next mask
  tried: readonly Tried[] = [];
  loss: Loss = { changed: 0, before: 0, corners: 0 };

  constructor(private readonly session: Session) {}

  get open(): boolean {
    return this.tried.length > 0;
  }

  /** The largest tolerance for the open photo, in pixels. */
  get most(): number {
    return Math.max(10, Math.round(Math.max(...(this.session.editor?.hw ?? [0])) * LARGEST));
  }

  /** Try it with the picked masks. */
  start(): void {
    const { session } = this;
    const { editor } = session;
    const chosen = editor?.selection ?? [];
    if (!editor || !chosen.length) return session.say("Pick the mask to simplify first (O).");
    if (session.review) return session.say("Judge the mask under review first.");
    if (!isEmpty(editor.draft)) return session.say("Keep the mask in the making first.");
    if (!editor.free(chosen)) return;
    this.tried = chosen.map((mask) => {
      const was = rleToPatch(mask.rle);
      const traced = tracePatch(was);
      return { mask, was, traced, patch: was, rings: traced, rle: mask.rle };
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
        rle: made.patch === one.was ? one.mask.rle : patchToRle(made.patch),
      };
    });
    this.loss = lossOf(this.tried);
    this.session.changed();
  }

  /** Give the masks their new shapes, in one step. */
  apply(): void {
    const made = new Map(
      this.tried.filter((one) => changedOf(one) > 0).map((one) => [one.mask.key, one.rle]),
    );
    this.tried = [];
    const { session } = this;
    if (!made.size) session.say("No pixel changes with this tolerance, so the mask stays.");
    else {
      session.editor?.change("simplify", (mask) => {
        const rle = made.get(mask.key);
        return rle ? shaped(mask, rle) : {};
      });
    }
    session.changed();
  }

  cancel(): void {
    this.tried = [];
    this.session.changed();
  }

  /** What was picked is no longer: there is nothing to simplify. */
  follow(): void {
    const { editor, review } = this.session;
    const still = editor && isEmpty(editor.draft) && !review ? editor.selection : [];
    const same = still.length === this.tried.length;
    if (!same || this.tried.some(({ mask }, i) => mask !== still[i])) this.tried = [];
  }
}

function lossOf(tried: readonly Tried[]): Loss {
  const sum = (of: (one: Tried) => number) => tried.reduce((all, one) => all + of(one), 0);
  const corners = (rings: readonly Ring[]) => rings.reduce((all, ring) => all + ring.length, 0);
  return {
    changed: sum(changedOf) / (sum(({ mask }) => mask.area) || 1),
    before: sum(({ traced }) => corners(traced)),
    corners: sum(({ rings }) => corners(rings)),
  };
}

/** Pixels that come or go. */
function changedOf({ mask, rle }: Tried): number {
  if (rle === mask.rle) return 0;
  const area = (first: Rle, second: Rle) => rleArea(rleCombine(first, second, "minus"));
  return area(mask.rle, rle) + area(rle, mask.rle);
}
