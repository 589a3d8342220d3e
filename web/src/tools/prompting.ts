/** Tools that ask the model: click, box, lasso and scribble. */

import { drawBox, drawLine } from "../canvas/shapes";
import type { Surface } from "../canvas/view";
import type { XY } from "../model/geometry";
import type { Click } from "../model/negative_clicks";
import { isEmpty } from "../state/work";
import { clipped, onImage, type Bench, type Pointed, type Tool } from "./tool";

/** Hovering previews the mask that a click would make. */
export class PointTool implements Tool {
  readonly cursor = "crosshair";

  down(pointed: Pointed, bench: Bench): void {
    this.press(pointed, bench);
  }

  press({ at, negative }: Pointed, { editor }: Bench): void {
    if (onImage(at, editor)) editor.click(at[0], at[1], negative ? 0 : 1);
  }

  aim({ at, negative, when }: Pointed, bench: Bench): void {
    if (!onImage(at, bench.editor)) {
      const shown = bench.editor.preview !== null;
      bench.editor.forget();
      return shown ? bench.drawn() : undefined;
    }
    void bench.editor.hover(at[0], at[1], negative ? 0 : 1).then((fresh) => {
      if (fresh) bench.answered(when);
    });
  }
}

/** A drag is a box around the object; a click corrects the mask in the making. */
export class BoxTool implements Tool {
  readonly cursor = "crosshair";
  private corners: [XY, XY] | null = null;
  private byKey = false;
  private negative = false;

  down({ at, negative }: Pointed, { editor }: Bench): void {
    this.byKey = false;
    this.negative = negative;
    this.corners = [clipped(at, editor), clipped(at, editor)];
  }

  move({ at }: Pointed, bench: Bench): void {
    if (!this.corners) return;
    this.corners[1] = clipped(at, bench.editor);
    bench.drawn();
  }

  up({ at }: Pointed, bench: Bench): void {
    if (this.corners) this.finish(clipped(at, bench.editor), bench);
  }

  press({ at, negative }: Pointed, bench: Bench): void {
    if (this.corners && this.byKey) return this.finish(clipped(at, bench.editor), bench);
    if (!isEmpty(bench.editor.draft) && !this.corners)
      return bench.editor.click(at[0], at[1], negative ? 0 : 1);
    this.down({ at, negative } as Pointed, bench);
    this.byKey = true;
  }

  key(key: string): boolean {
    const open = this.corners !== null;
    if (key === "Escape") this.corners = null;
    return open && key === "Escape";
  }

  private finish(end: XY, { editor }: Bench): void {
    const [start] = this.corners!;
    this.corners = null;
    const xs = [start[0], end[0]].sort((a, b) => a - b);
    const ys = [start[1], end[1]].sort((a, b) => a - b);
    if (xs[1] - xs[0] < LEAST_SIDE && ys[1] - ys[0] < LEAST_SIDE && !isEmpty(editor.draft))
      return editor.click(end[0], end[1], this.negative ? 0 : 1);
    if (xs[1] - xs[0] < 1 || ys[1] - ys[0] < 1) return;
    const box = [xs[0], ys[0], xs[1], ys[1]] as const;
    if (editor.draft.box || editor.draft.fixes) editor.tell(REPLACED);
    editor.say("box", () => ({ box: [...box], rings: null, candidate: 0 }));
  }

  draw(on: Surface): void {
    if (this.corners) drawBox(on, this.corners.flat());
  }
}

const LEAST_SIDE = 3; // pixels: a shorter drag is a click
const REPLACED = "The new box replaced the mask. Ctrl+Z restores it, Enter keeps the new one.";
const SCRIBBLE_CLICKS = 6;
const NEAR_START = 0.25; // of the line's length: an end so near the start closes a lasso

/** A closed line goes around the object; an open one runs along it. */
export class LassoTool implements Tool {
  readonly cursor = "crosshair";
  private line: XY[] = [];

  down({ at }: Pointed, { editor }: Bench): void {
    this.line = [clipped(at, editor)];
  }

  move({ at }: Pointed, bench: Bench, pressed: boolean): void {
    if (!pressed || !this.line.length) return;
    this.line.push(clipped(at, bench.editor));
    bench.drawn();
  }

  up({ negative }: Pointed, { editor }: Bench): void {
    const line = this.line;
    this.line = [];
    if (line.length < 2) return;
    const steps = line.slice(1).map((p, i) => Math.hypot(p[0] - line[i][0], p[1] - line[i][1]));
    const length = steps.reduce((a, b) => a + b, 0);
    const [first, last] = [line[0], line[line.length - 1]];
    const gap = Math.hypot(last[0] - first[0], last[1] - first[1]);
    if (!negative && line.length > 4 && gap < NEAR_START * length) {
      const xs = line.map((p) => p[0]);
      const ys = line.map((p) => p[1]);
      const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)] as const;
      return editor.say("lasso", () => ({
        lasso: line,
        box: [...box],
        rings: null,
        candidate: 0,
      }));
    }
    const clicks = alongLine(line, steps, length).map(([x, y]): Click => ({
      x,
      y,
      label: negative ? 0 : 1,
    }));
    editor.say("scribble", (draft) => ({ clicks: [...draft.clicks, ...clicks], rings: null }));
  }

  draw(on: Surface): void {
    if (this.line.length > 1) drawLine(on, this.line, false);
  }
}

/** Evenly spaced places of a line, its ends left out. */
function alongLine(line: XY[], steps: number[], length: number): XY[] {
  const out: XY[] = [];
  let walked = 0;
  steps.forEach((step, i) => {
    walked += step;
    const due = ((out.length + 0.5) / SCRIBBLE_CLICKS) * length;
    if (walked >= due && out.length < SCRIBBLE_CLICKS) out.push(line[i + 1]);
  });
  return out;
}
