/** The image on the screen: four canvases, one above the other, and what points at them. */

import { rleToPatch, type Patch } from "../masks/patch";
import type { XY } from "../model/geometry";
import type { Session, ToolName } from "../state/session";
import type { Editor } from "../state/editor";
import { activeLabel, isEmpty, type Mask } from "../state/work";
import { BrushTool, PolygonTool } from "../tools/drawing";
import { PanTool, PickTool } from "../tools/choosing";
import { BoxTool, LassoTool, PointTool } from "../tools/prompting";
import { clipped, type Bench, type Pointed, type Tool } from "../tools/tool";
import type { Rgb } from "./colors";
import { Fingers } from "./fingers";
import { drawGuides } from "./guides";
import { addLayers } from "./layers";
import { PreviewLayer } from "./preview";
import { UNNAMED, drawBox, drawClicks, drawCross, drawLine, drawPatch, drawSimple } from "./shapes";
import { placeIn, turnOf, type View } from "./view";

const WHITE = [255, 255, 255] as const;
const KEPT_LATENCIES = 1000;
const LAYERS = ["image", "masks", "preview", "over"] as const;
const TELL_MS = 60; // the status bar's numbers are no reason for a frame while the model decodes
const PIXELWISE = ["masks", "preview"]; // drawn by us, pixel by pixel

export class Stage {
  readonly tools: Record<ToolName, Tool> = {
    point: new PointTool(),
    box: new BoxTool(),
    lasso: new LassoTool(),
    brush: new BrushTool(1),
    eraser: new BrushTool(0),
    polygon: new PolygonTool(),
    pick: new PickTool(),
    pan: new PanTool(),
  };
  readonly latencies: number[] = []; // hover to the mask's frame, in milliseconds, newest last
  counted = 0; // hovers so far
  cross: XY | null = null; // the keyboard's pointer, in pixels of the image
  pointer: XY | null = null;
  private readonly canvases: HTMLCanvasElement[];
  private readonly preview: PreviewLayer;
  private dimmed = false; // what lies over the image makes room for a preview
  private readonly patches = new WeakMap<Mask, Patch>();
  private panning: XY | null = null;
  private held = false; // Space is down
  private pressed = false;
  private dirty = true; // the image, the masks or the view
  private frame = 0;
  private telling: ReturnType<typeof setTimeout> | 0 = 0;
  private aimedAt = 0; // the time of the event that the tool aimed with last
  private readonly view: View;
  private readonly fingers: Fingers;

  constructor(
    readonly element: HTMLElement,
    private readonly session: Session,
  ) {
    this.view = session.view;
    this.fingers = new Fingers(this.view, {
      down: (event) => this.down(event),
      moved: (event) => this.moved(event),
      up: (event) => this.up(event),
      dropped: (event) => this.up(event),
      viewed: () => {
        this.draw(true);
        this.onDraw?.();
      },
    });
    const ratio = (name: string) => (PIXELWISE.includes(name) ? 1 : devicePixelRatio);
    this.canvases = addLayers(element, this.view, LAYERS, () => this.draw(true), ratio);
    this.preview = new PreviewLayer(this.canvases[2]);
    this.listen();
  }

  get tool(): Tool {
    return this.tools[this.session.toolName];
  }

  private bench(): Bench | null {
    const { session, view } = this;
    const { editor } = session;
    if (!editor || session.opening) return null;
    const drawn = () => this.drawOver();
    return { session, editor, view, drawn, answered: (when) => this.answered(when) };
  }

  /** The mask under the pointer is there. */
  private answered(when: number): void {
    if (this.dimmed) this.drawPreview();
    else this.drawOver();
    this.timeFrame(when);
  }

  /** Note how long after a hover the frame with its mask is done. */
  private timeFrame(when: number): void {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      this.latencies.push(performance.now() - when);
      this.counted++;
      if (this.latencies.length > KEPT_LATENCIES) this.latencies.shift();
    };
    requestAnimationFrame(() => port2.postMessage(null)); // comes when the frame has been painted
  }

  use(name: ToolName): void {
    this.session.toolName = name;
    const bench = this.bench();
    if (bench) {
      bench.editor.forget();
      this.tool.start?.(bench);
    }
    this.session.changed();
  }

  // -------------------------------------------------------------------------------- the pointer

  private listen(): void {
    const { element } = this;
    this.fingers.listen(element);
    element.addEventListener("pointerrawupdate", (event) => this.aimed(event as PointerEvent));
    element.addEventListener("pointerleave", () => this.left());
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    element.addEventListener("dblclick", (event) => {
      const bench = this.bench();
      if (bench && event.target === element) this.tool.double?.(this.pointed(event), bench);
      this.draw(false);
    });
  }

  private pointed(event: MouseEvent): Pointed {
    const screen = placeIn(this.element, event);
    const { takesAway } = this.session;
    const negative = event.shiftKey || event.button === 2 || (event.buttons & 2) > 0 || takesAway;
    return { at: this.view.toImage(screen), screen, negative, when: event.timeStamp };
  }

  private down(event: PointerEvent): void {
    if (event.target !== this.element) return; // messages and bars lie over the image
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    const pointed = this.pointed(event);
    this.cross = null;
    const pans = this.held || event.button === 1 || this.session.toolName === "pan";
    if (pans) {
      this.panning = pointed.screen;
      return this.pointAs();
    }
    const bench = this.bench();
    if (!bench) return;
    this.pressed = true;
    this.tool.down?.(pointed, bench);
    this.draw(false);
  }

  private moved(event: PointerEvent): void {
    const pointed = this.pointed(event);
    this.pointer = pointed.at;
    if (this.cross) {
      this.cross = null;
      this.draw(false);
    }
    if (this.panning) {
      const [x, y] = this.panning;
      this.view.pan(pointed.screen[0] - x, pointed.screen[1] - y);
      this.panning = pointed.screen;
      return this.draw(true);
    }
    const bench = this.bench();
    if (bench) this.tool.move?.(pointed, bench, this.pressed);
    if (this.session.display.guides) this.draw(false);
    if (event.timeStamp > this.aimedAt) this.aimed(event);
    this.telling ||= setTimeout(() => {
      this.telling = 0;
      this.onDraw?.();
    }, TELL_MS);
  }

  /** The pointer's place at once: moves wait for a frame, up to 16 ms that the model can use. */
  private aimed(event: PointerEvent): void {
    if (this.panning || this.fingers.several) return;
    this.aimedAt = event.timeStamp;
    const bench = this.bench();
    if (bench) this.tool.aim?.(this.pointed(event), bench);
  }

  /** Called when the pointer has moved, for the status bar. */
  onDraw: (() => void) | null = null;
  /** Called when the wheel is turned with Alt: to the page before (-1) or after (1). */
  turned: ((step: -1 | 1) => void) | null = null;
  /** Called when the image was drawn anew, for what lies over it. */
  imageDrawn: (() => void) | null = null;

  private up(event: PointerEvent): void {
    const pointed = this.pointed(event);
    const was = this.panning;
    this.panning = null;
    this.pointAs();
    const bench = this.bench();
    if (!was && this.pressed && bench) this.tool.up?.(pointed, bench);
    this.pressed = false;
    this.draw(false);
  }

  private left(): void {
    this.pointer = null;
    this.session.editor?.forget();
    this.draw(false);
    this.onDraw?.();
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    if (event.altKey) return this.turned?.(event.deltaY > 0 ? 1 : -1);
    const { screen } = this.pointed(event);
    if (event.shiftKey) this.view.pan(-turnOf(event, event.deltaY || event.deltaX), 0);
    else this.view.zoomBy(event, screen);
    this.draw(true);
    this.onDraw?.();
  }

  // -------------------------------------------------------------------------------- the keyboard

  /** Space pans while it is held and the pointer moves. */
  hold(held: boolean): void {
    this.held = held;
    this.pointAs();
  }

  /** The pointer looks as what it would do. */
  pointAs(): void {
    const rest = this.held ? "grab" : this.tool.cursor;
    this.element.style.cursor = this.panning ? "grabbing" : rest;
  }

  /** Move the crosshair by screen pixels; it starts at the pointer, or in the middle. */
  step(dx: number, dy: number): void {
    const bench = this.bench();
    if (!bench) return;
    const { view } = bench;
    this.cross = view.moved(this.cross ?? this.pointer, dx, dy);
    const screen = view.toScreen(this.cross);
    const margin = 40;
    const off = (place: number, full: number) =>
      place < margin ? margin - place : place > full - margin ? full - margin - place : 0;
    view.pan(off(screen[0], view.width), off(screen[1], view.height));
    this.tool.move?.(this.atCross(false), bench, this.pressed);
    this.tool.aim?.(this.atCross(false), bench);
    this.draw(true);
    this.onDraw?.();
  }

  press(negative: boolean): void {
    const bench = this.bench();
    if (!bench || !this.cross) return this.step(0, 0);
    this.tool.press?.(this.atCross(negative), bench);
    this.draw(false);
  }

  private atCross(negative: boolean): Pointed {
    const at = this.cross!;
    return { at, screen: this.view.toScreen(at), negative, when: performance.now() };
  }

  key(key: string): boolean {
    const bench = this.bench();
    return bench ? (this.tool.key?.(key, bench) ?? false) : false;
  }

  zoom(factor: number): void {
    const at = this.cross ? this.view.toScreen(this.cross) : undefined;
    this.view.zoomTo(this.view.scale * factor, at);
    this.draw(true);
  }

  // ------------------------------------------------------------------------------------ drawing

  /** Draw in the next frame; `all` where the image, the masks or the view changed. */
  draw(all: boolean): void {
    this.dirty ||= all;
    this.frame ||= requestAnimationFrame(() => this.drawNow());
  }

  /** Draw what is due, in this frame. */
  drawNow(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (this.dirty) this.drawImage();
    this.dirty = false;
    this.drawOver();
  }

  private drawImage(): void {
    const [image, masks] = this.canvases.map((canvas) => canvas.getContext("2d")!);
    this.imageDrawn?.();
    image.clearRect(0, 0, image.canvas.width, image.canvas.height);
    const { editor } = this.session;
    if (!editor) return masks.clearRect(0, 0, masks.canvas.width, masks.canvas.height);
    this.session.image?.draw(image, this.view, devicePixelRatio);
    editor.map.draw(masks, this.view);
  }

  /** The color of the object in the making: its class's, or that of none. */
  private color({ state, draft }: Editor): Rgb {
    const label = (isEmpty(draft) ? activeLabel(state) : state.label).trim();
    return label ? this.session.labels.color(label) : [...UNNAMED];
  }

  private drawPreview(): void {
    const patch = this.bench()?.editor.preview?.candidates[0].patch ?? null;
    const { editor } = this.session;
    const color = editor ? this.color(editor) : UNNAMED;
    this.preview.show(patch, this.view, { color: [...color], fill: 0.4, edge: 0.95 });
    this.dimmed = patch !== null;
  }

  private drawOver(): void {
    this.drawPreview();
    const context = this.canvases[3].getContext("2d")!;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.view.width, this.view.height);
    const bench = this.bench();
    if (!bench) return;
    const { editor, view } = bench;
    const on = { context, view };
    const { draft, result } = editor;
    const outlined = (mask: Mask | null, fill: number) => {
      if (!mask) return;
      if (!this.patches.has(mask)) this.patches.set(mask, rleToPatch(mask.rle));
      drawPatch(on, this.patches.get(mask)!, { color: [...WHITE], fill, edge: 1 });
    };
    outlined(editor.hovered, 0.2);
    const { tried } = this.session.simplifying;
    if (!draft.fixes) for (const mask of editor.selection) outlined(mask, tried.length ? 0 : 0.28);
    drawSimple(on, tried);
    const fill = this.dimmed ? 0.25 : 0.5;
    drawPatch(on, result.patch, { color: this.color(editor), fill, edge: 1 });
    if (draft.box) drawBox(on, draft.box);
    if (draft.lasso) drawLine(on, draft.lasso, true);
    drawClicks(on, draft.clicks, result.violated);
    this.tool.draw?.(on, bench);
    const at = this.cross ?? this.pointer;
    if (at && this.session.display.guides) drawGuides(on, at);
    if (this.cross) drawCross(on, clipped(this.cross, editor));
  }
}
