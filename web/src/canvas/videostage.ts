/** A frame of the video on the screen, with its masks and clicks, and what points at them. */

import { rleArea, rleBox, cocoToRle } from "../masks/rle";
import { clamp, type XY } from "../model/geometry";
import { takesAway } from "../state/correcting";
import type { VideoWork } from "../state/videowork";
import type { Mask } from "../state/work";
import { Fingers } from "./fingers";
import { drawGuides } from "./guides";
import { LabelMap } from "./labelmap";
import { addLayers, onceAFrame } from "./layers";
import { drawBox, drawClicks, drawCross, drawSimple } from "./shapes";
import { placeIn, turnOf, type Surface, type View } from "./view";

const LAYERS = ["image", "masks", "over"] as const;
const SMALL = 4; // screen pixels below which a drag of the box tool is a click
const CURSORS = { point: "crosshair", box: "crosshair", window: "ns-resize", pan: "grab" };

export class VideoStage {
  cross: XY | null = null; // the keyboard's pointer, in pixels of the frame
  pointer: XY | null = null;
  private readonly canvases: HTMLCanvasElement[];
  private readonly view: View;
  private panning: XY | null = null;
  private windowing: XY | null = null; // where the window was dragged to
  private from: XY | null = null; // where a box was begun
  readonly draw = onceAFrame(() => this.drawNow());

  constructor(
    readonly element: HTMLElement,
    private readonly videoWork: VideoWork,
  ) {
    this.view = videoWork.view;
    const ratio = (name: string) => (name === "masks" ? 1 : devicePixelRatio);
    this.canvases = addLayers(element, this.view, LAYERS, () => this.fit(), ratio);
    this.listen();
  }

  private listen(): void {
    const { element } = this;
    const fingers = new Fingers(this.view, {
      down: (event) => this.down(event),
      moved: (event) => this.moved(event),
      up: (event) => this.up(event),
      dropped: () => this.drop(),
      viewed: () => this.draw(),
    });
    fingers.listen(element);
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  private place(event: MouseEvent): XY {
    return placeIn(this.element, event);
  }

  private inside([x, y]: XY): boolean {
    const [height, width] = this.view.hw;
    return x >= 0 && y >= 0 && x < width && y < height;
  }

  private down(event: PointerEvent): void {
    if (event.target !== this.element) return; // messages lie over the frame
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    this.cross = null;
    const screen = this.place(event);
    const moving = event.button === 1 || this.videoWork.toolName === "pan";
    if (moving || this.videoWork.toolName === "window") {
      this[moving ? "panning" : "windowing"] = screen;
      return;
    }
    if (!this.videoWork.shown) return;
    const at = this.view.toImage(screen);
    if (this.videoWork.toolName === "box" && event.button === 0) this.from = at;
    else if (this.inside(at)) {
      const negative = event.shiftKey || event.button === 2 || takesAway(this.videoWork);
      this.click(at, negative);
    }
  }

  private click([x, y]: XY, negative: boolean): void {
    void this.videoWork.speak([x, y, negative ? 0 : 1]);
  }

  private moved(event: PointerEvent): void {
    const screen = this.place(event);
    if (this.panning) {
      this.view.pan(screen[0] - this.panning[0], screen[1] - this.panning[1]);
      this.panning = screen;
    }
    if (this.windowing) {
      const [x, y] = this.windowing;
      this.videoWork.drag(screen[0] - x, screen[1] - y);
      this.windowing = screen;
    }
    this.pointer = this.view.toImage(screen);
    if (this.panning || this.from) this.draw();
  }

  private up(event: PointerEvent): void {
    const box = this.box(this.view.toImage(this.place(event)));
    const large = box && (box[2] - box[0]) * this.view.scale > SMALL;
    this.drop();
    if (box && large && (box[3] - box[1]) * this.view.scaleY > SMALL) {
      void this.videoWork.speak(null, box);
    }
  }

  private drop(): void {
    this.panning = this.windowing = this.from = null;
    this.draw();
  }

  /** The box from where the pointer went down, inside the frame. */
  private box(to: XY): number[] | null {
    if (!this.from) return null;
    const [height, width] = this.view.hw;
    const xs = [this.from[0], to[0]].map((x) => clamp(x, 0, width));
    const ys = [this.from[1], to[1]].map((y) => clamp(y, 0, height));
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    if (!event.ctrlKey && this.videoWork.wheel(turnOf(event))) return;
    this.view.zoomBy(event, this.place(event));
    this.draw();
  }

  /** Move the crosshair by screen pixels; it starts at the pointer, or in the middle. */
  step(dx: number, dy: number): void {
    this.cross = this.view.moved(this.cross ?? this.pointer, dx, dy);
    this.videoWork.cross(this.cross);
    this.draw();
  }

  /** Click at the crosshair, which appears first. */
  press(negative: boolean): void {
    if (this.cross) this.click(this.cross, negative);
    else this.step(0, 0);
  }

  zoom(factor: number): void {
    const at = this.cross ? this.view.toScreen(this.cross) : undefined;
    this.view.zoomTo(this.view.scale * factor, at);
    this.draw();
  }

  // ------------------------------------------------------------------------------------ drawing

  fit(): void {
    this.view.fit();
    this.draw();
  }

  private drawNow(): void {
    const { videoWork, view } = this;
    const [image, masks, over] = this.canvases.map((canvas) => canvas.getContext("2d")!);
    this.element.style.cursor = this.panning ? "grabbing" : CURSORS[videoWork.toolName];
    if (videoWork.closed || !videoWork.shown) return;
    const { frame, image: shown } = videoWork.shown;
    view.take(shown.hw, videoWork.tallAt(frame));
    image.clearRect(0, 0, image.canvas.width, image.canvas.height);
    shown.draw(image, view, devicePixelRatio);
    drawFound({ context: masks, view }, videoWork, frame);
    const on = { context: over, view };
    over.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    over.clearRect(0, 0, view.width, view.height);
    drawSimple(on, videoWork.simplifying.tried);
    const lines = videoWork.linesAt(frame);
    over.globalAlpha = 0.4;
    if (lines) drawGuides(on, lines);
    over.globalAlpha = 1;
    this.drawSaid(on, frame);
  }

  private drawSaid(on: Surface, frame: number): void {
    const { videoWork } = this;
    const here = videoWork.said.filter(
      (one) => one.frame === frame && one.object === videoWork.chosen,
    );
    for (const { box } of here) if (box) drawBox(on, box);
    const clicks = here.flatMap(({ point }) => {
      return point ? [{ x: point[0], y: point[1], label: point[2] }] : [];
    });
    drawClicks(on, clicks, []);
    const drawn = this.pointer && this.box(this.pointer);
    if (drawn) drawBox(on, drawn);
    if (this.cross) drawCross(on, this.cross);
  }
}

/** The masks of a frame. */
export function drawFound({ context, view }: Surface, work: VideoWork, frame: number): void {
  const found = work.masksAt(frame).filter(([, { area }]) => area > 0);
  const masks = found.map(([object, { segmentation, score }]): Mask => {
    const rle = cocoToRle(segmentation);
    const about = { rle, box: rleBox(rle), area: rleArea(rle), score };
    const name = String(object);
    const away = object !== work.chosen && work.clip?.of(object)?.state === "rejected";
    const state = away ? "rejected" : "accepted";
    return { ...about, key: name, label: name, state, provenance: {} };
  });
  const size = masks[0]?.rle.size ?? view.hw;
  const map = new LabelMap(size);
  const only = work.clip && new Set([String(work.chosen)]);
  const layers = { masks: true, proposals: true, fill: 0.45, outline: 2, least: null, only };
  const palette = (name: string) => work.color(Number(name));
  const whole = masks.filter(({ rle }) => rle.size.join() === size.join());
  map.set(whole, { ...layers, palette }, null);
  map.draw(context, view);
}
