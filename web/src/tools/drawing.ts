/** Tools that need no model: brush and eraser, polygon. */

import { css } from "../canvas/colors";
import { drawDisc, drawHandles, drawLine } from "../canvas/shapes";
import type { Surface } from "../canvas/view";
import type { Ring } from "../masks/outline";
import type { XY } from "../model/geometry";
import { isEmpty } from "../state/work";
import { clipped, type Bench, type Pointed, type Tool } from "./tool";

export class BrushTool implements Tool {
  readonly cursor = "none";
  private line: XY[] = [];
  private over: XY | null = null;

  constructor(private readonly value: 0 | 1) {}

  start({ editor }: Bench): void {
    if (editor.selected && isEmpty(editor.draft)) editor.edit(false);
  }

  down({ at, negative }: Pointed, bench: Bench): void {
    this.start(bench);
    this.line = [at];
    this.turned = negative;
  }

  private turned = false; // Shift: the other way round

  move({ at }: Pointed, bench: Bench, pressed: boolean): void {
    this.over = at;
    if (pressed && this.line.length) this.line.push(at);
    bench.drawn();
  }

  up(_: Pointed, { editor, session }: Bench): void {
    if (!this.line.length) return;
    const value = (this.turned ? 1 - this.value : this.value) as 0 | 1;
    const stroke = { value, radius: session.brush, points: this.line };
    this.line = [];
    if (!value && isEmpty(editor.draft)) return session.say("There is no mask to erase from.");
    editor.say(value ? "brush stroke" : "eraser stroke", ({ strokes }) => ({
      strokes: [...strokes, stroke],
    }));
  }

  press(pointed: Pointed, bench: Bench): void {
    this.down(pointed, bench);
    this.up(pointed, bench);
  }

  draw({ context, view }: Surface, { session }: Bench): void {
    const paints = this.turned && this.line.length ? !this.value : this.value;
    if (this.line.length) {
      context.beginPath();
      for (const point of this.line) context.lineTo(...view.toScreen(point));
      context.lineTo(...view.toScreen(this.line[this.line.length - 1]));
      context.lineCap = context.lineJoin = "round";
      context.lineWidth = 2 * session.brush * view.scale;
      context.strokeStyle = css(paints ? [61, 139, 255] : [240, 70, 75], 0.5);
      context.stroke();
    }
    const color = paints ? "#fff" : "#ff8a8d";
    if (this.over) drawDisc({ context, view }, this.over, session.brush, color);
  }
}

const GRAB = 9; // screen pixels from a corner or an edge

interface Corner {
  ring: number;
  place: number;
}

/** Draws an outline corner by corner; moves, adds and deletes corners of one that is there. */
export class PolygonTool implements Tool {
  readonly cursor = "crosshair";
  private open: XY[] = [];
  private over: XY | null = null;
  private active: Corner | null = null;
  private moved: readonly Ring[] | null = null; // the outlines while a corner is dragged

  start({ editor }: Bench): void {
    this.open = [];
    this.active = null;
    if (isEmpty(editor.draft)) editor.edit(true);
    else void editor.outlined();
  }

  down({ at, screen }: Pointed, bench: Bench): void {
    const { editor } = bench;
    const rings = editor.draft.rings;
    this.active = null;
    if (!this.open.length && rings) {
      this.active = this.cornerAt(rings, screen, bench);
      if (this.active) return;
      const edge = this.edgeAt(rings, at, bench);
      if (edge) {
        this.active = edge;
        this.moved = changed(rings, edge, (ring) => ring.splice(edge.place, 0, at));
        return;
      }
    }
    this.add(clipped(at, editor), screen, bench);
  }

  press({ at, screen }: Pointed, bench: Bench): void {
    this.add(clipped(at, bench.editor), screen, bench);
    bench.drawn();
  }

  private add(at: XY, screen: XY, bench: Bench): void {
    const first = this.open[0];
    if (first && this.open.length > 2 && near(bench.view.toScreen(first), screen)) {
      return this.close(bench);
    }
    this.open.push(at);
  }

  move({ at }: Pointed, bench: Bench, pressed: boolean): void {
    this.over = at;
    const rings = this.moved ?? bench.editor.draft.rings;
    const corner = this.active;
    if (pressed && corner && rings) {
      const place = clipped(at, bench.editor);
      this.moved = changed(rings, corner, (ring) => ring.splice(corner.place, 1, place));
    }
    bench.drawn();
  }

  up(_: Pointed, { editor }: Bench): void {
    const { moved } = this;
    if (moved) editor.say("corner", () => ({ rings: moved }));
    this.moved = null;
  }

  double(_: Pointed, bench: Bench): void {
    if (this.open.length > 3) {
      this.open.pop(); // the second click of the double click
      this.close(bench);
    }
  }

  key(key: string, bench: Bench): boolean {
    const { editor } = bench;
    if (key === "Enter" && this.open.length > 2) {
      this.close(bench);
      return true;
    }
    if (key === "Escape" && this.open.length) {
      this.open = [];
      bench.drawn();
      return true;
    }
    const { active } = this;
    if (key === "Delete" && active && editor.draft.rings) {
      const rings = changed(editor.draft.rings, active, (ring) => ring.splice(active.place, 1));
      this.active = null;
      editor.say("vertex deleted", () => ({ rings: rings.filter((ring) => ring.length > 2) }));
      return true;
    }
    return false;
  }

  private close({ editor }: Bench): void {
    const ring = this.open;
    this.open = [];
    editor.say("polygon", ({ rings }) => ({ rings: [...(rings ?? []), ring], strokes: [] }));
  }

  private cornerAt(rings: readonly Ring[], screen: XY, { view }: Bench): Corner | null {
    for (const [ring, points] of rings.entries()) {
      const place = points.findIndex((point) => near(view.toScreen(point), screen));
      if (place >= 0) return { ring, place };
    }
    return null;
  }

  /** The edge under the pointer, as the place where a new corner goes. */
  private edgeAt(rings: readonly Ring[], at: XY, { view }: Bench): Corner | null {
    for (const [ring, points] of rings.entries()) {
      const place = points.findIndex((a, i) => {
        const b = points[(i + 1) % points.length];
        const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
        const t = ((at[0] - a[0]) * dx + (at[1] - a[1]) * dy) / (dx * dx + dy * dy || 1);
        const off = Math.hypot(at[0] - a[0] - t * dx, at[1] - a[1] - t * dy);
        return t > 0 && t < 1 && off * view.scale < GRAB / 2;
      });
      if (place >= 0) return { ring, place: place + 1 };
    }
    return null;
  }

  draw(on: Surface, { editor }: Bench): void {
    const rings = this.moved ?? editor.draft.rings ?? [];
    const corners = rings.reduce((sum, ring) => sum + ring.length, 0);
    rings.forEach((ring, i) => {
      drawLine(on, ring, true);
      const active = this.active?.ring === i ? this.active.place : -1;
      if (corners < 2000) drawHandles(on, ring, active);
    });
    if (!this.open.length) return;
    drawLine(on, this.over ? [...this.open, this.over] : this.open, false);
    drawHandles(on, this.open, 0);
  }
}

const near = (a: XY, b: XY) => Math.hypot(a[0] - b[0], a[1] - b[1]) < GRAB;

function changed(rings: readonly Ring[], { ring }: Corner, how: (ring: XY[]) => void): Ring[] {
  return rings.map((one, i) => {
    if (i !== ring) return one;
    const copy = [...one];
    how(copy);
    return copy;
  });
}
