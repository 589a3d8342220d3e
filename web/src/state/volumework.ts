/** The open scan: a video whose frames are the slices across z, y, x, and what only a scan has. */

import type { View } from "../canvas/view";
import type { XY } from "../model/geometry";
import { AXES, type Axis, type Scan, type Three, type Window } from "../store/volumes";
import type { VideoFacts } from "../store/videos";
import { waysOf, type Direction, type KeptVideo, type Said } from "./said";
import type { Shown } from "./screen";
import type { Found, Way } from "./tracks";
import { VideoWork } from "./videowork";

const TURN = 40; // of the wheel, for a slice
const PART = 250; // screen pixels that drag by the whole width of the window
const LABELS_MS = 1000; // between two looks at all labels while objects are followed
const OTHER: Record<string, string> = { L: "R", R: "L", P: "A", A: "P", S: "I", I: "S" };

export class VolumeWork extends VideoWork {
  override readonly words = { part: "slice", whole: "scan" };
  axis: Axis = 0; // the slices across which are shown large
  at: Three; // the voxel in which the three slices meet
  window: Window;
  readonly beside: (Shown | null)[] = [null, null, null]; // what the small planes show, by axis
  drawBeside: () => void = () => undefined;
  private windows = 0; // that were chosen so far: each has images of its own
  private labels = new Map<number, [number, Found][]>();
  private readonly over = new Set<Way>(); // ways that have been followed to their ends
  private wanted = 0;
  private refreshing = false;
  private labelsAt = 0;
  private turned = 0;
  private loading = false; // slices by another window

  constructor(
    readonly scan: Scan,
    title: string,
    view: View,
  ) {
    super(scan, scan.facts, title, view);
    this.direction = "both";
    this.window = scan.shown;
    this.at = scan.shape.map((side) => Math.floor(side / 2)) as Three;
  }

  // ----------------------------------------------------------------------------- where one is

  override get length(): number {
    return this.scan.shape[this.axis];
  }

  override get first(): number {
    return this.scan.begin(this.axis);
  }

  override numberOf(frame: number): number {
    return this.scan.place(frame)[1];
  }

  override label(frame: number): string {
    const [axis, slice] = this.scan.place(frame);
    return `${AXES[axis]} ${slice}`;
  }

  override where(frame: number): string {
    const [axis, slice] = this.scan.place(frame);
    const far = (slice * this.scan.spacing[axis]).toFixed(1);
    return `${AXES[axis]} ${slice} of 0–${this.scan.shape[axis] - 1} · ${far} mm`;
  }

  override spoken(frame: number): string {
    const [axis, slice] = this.scan.place(frame);
    return `Slice ${slice} along ${AXES[axis]}, range 0 to ${this.scan.shape[axis] - 1}`;
  }

  override get about(): string {
    const [z, y, x] = this.scan.shape;
    const [dz, dy, dx] = this.scan.spacing.map((one) => Number(one.toFixed(2)));
    return `${x} × ${y} × ${z}, ${dx} × ${dy} × ${dz} mm, ${this.scan.state.orientation}`;
  }

  override begin(): Promise<void> {
    return this.seek(this.first + this.at[this.axis]);
  }

  /** The axes of a slice's rows and columns. */
  sides(axis: Axis): [rows: Axis, columns: Axis] {
    return axis === 0 ? [1, 2] : axis === 1 ? [0, 2] : [0, 1];
  }

  override tallAt(frame: number): number {
    const [rows, columns] = this.sides(this.scan.place(frame)[0]);
    return this.scan.spacing[rows] / this.scan.spacing[columns];
  }

  /** Where the other two planes cut a slice. */
  override linesAt(frame: number): XY {
    const [rows, columns] = this.sides(this.scan.place(frame)[0]);
    return [this.at[columns] + 0.5, this.at[rows] + 0.5];
  }

  /** Where left, right, top and bottom of a slice lie in the patient: L, R, P, A, S, I. */
  letters(axis: Axis): [left: string, right: string, top: string, bottom: string] {
    const to = (side: Axis) => this.scan.state.orientation![2 - side];
    const [rows, columns] = this.sides(axis);
    return [OTHER[to(columns)], to(columns), OTHER[to(rows)], to(rows)];
  }

  /** Show the slices across an axis large. */
  turn(axis: Axis): Promise<void> {
    return this.seek(this.scan.begin(axis) + this.at[axis]);
  }

  override async seek(frame: number, along = false): Promise<void> {
    const [axis, slice] = this.scan.place(Math.round(frame));
    if (axis !== this.axis) this.stop();
    this.axis = axis;
    this.fit();
    this.at[axis] = Math.max(0, Math.min(this.length - 1, slice));
    const coming = super.seek(this.first + this.at[axis], along);
    this.refresh();
    await coming;
  }

  private fit(): void {
    const [rows, columns] = this.sides(this.axis);
    this.facts.size = [this.scan.shape[rows], this.scan.shape[columns]];
  }

  /** Have the other planes go through a place of a slice, in its pixels. */
  goTo(axis: Axis, [x, y]: XY): void {
    const [rows, columns] = this.sides(axis);
    for (const [side, place] of [
      [rows, y],
      [columns, x],
    ] as const) {
      this.at[side] = Math.max(0, Math.min(this.scan.shape[side] - 1, Math.floor(place)));
    }
    if (axis === this.axis) this.refresh();
    else void this.begin();
  }

  override cross(at: XY): void {
    this.goTo(this.axis, at);
  }

  override wheel(lines: number): boolean {
    this.turned += lines;
    const steps = Math.trunc(this.turned / TURN);
    this.turned -= steps * TURN;
    if (steps) void this.step(steps);
    return true;
  }

  // ------------------------------------------------------------------------------- the window

  protected override imageNumberOf(frame: number): number {
    return this.windows * this.facts.frames + frame;
  }

  override drag(dx: number, dy: number): void {
    const [level, width] = this.window;
    const step = this.scan.modelWindow[1] / PART;
    void this.show([level + dy * step, width + dx * step]);
  }

  /** Show other raw values as black and white; slices by the newest window are asked for. */
  async show([level, width]: Window): Promise<void> {
    if (![level, width].every(Number.isFinite)) return;
    this.window = [round(level), Math.max(round(width), this.scan.modelWindow[1] / 1e4, 1e-6)];
    this.changed();
    if (this.loading) return;
    this.loading = true;
    try {
      while (this.window !== this.scan.shown && !this.closed) {
        this.scan.shown = this.window;
        this.windows++;
        await this.seek(this.frame);
      }
    } finally {
      this.loading = false;
    }
  }

  // ------------------------------------------------------------------------- the other planes

  /** Look again at the other planes and at the labels on all three. */
  refresh(): void {
    this.wanted++;
    if (!this.refreshing) void this.refreshAll();
  }

  private async refreshAll(): Promise<void> {
    this.refreshing = true;
    for (let done = 0; done !== this.wanted && !this.closed;) {
      done = this.wanted;
      try {
        await Promise.all([...this.sides(this.axis).map((side) => this.showBeside(side))]);
        if (this.tracks.objects.length || this.labels.size) await this.showLabels();
      } catch (error) {
        if (!this.closed) this.fail(error);
        break;
      }
      this.changed();
      this.redraw();
      this.drawBeside();
    }
    this.refreshing = false;
  }

  private async showBeside(axis: Axis): Promise<void> {
    const frame = this.scan.begin(axis) + this.at[axis];
    const imageNumber = this.imageNumberOf(frame);
    const image = await this.frameCache.expect(imageNumber);
    this.frameCache.hold(this.beside[axis]?.imageNumber, imageNumber);
    this.beside[axis] = { frame, image, imageNumber };
    this.drawBeside();
  }

  private async showLabels(): Promise<void> {
    const now = performance.now();
    if (this.following && now - this.labelsAt < LABELS_MS) return;
    const said = this.said.length;
    const labels = await this.scan.labels([...this.at]);
    this.labelsAt = performance.now();
    if (said === this.said.length) this.labels = labels;
  }

  /** As it would be exported, as soon as that is known. */
  override masksAt(frame: number): [object: number, found: Found][] {
    const own = super.masksAt(frame);
    const labels = this.labels.get(frame);
    return (this.following && own.length) || !labels ? own : labels;
  }

  // ------------------------------------------------------------------------ said and followed

  override speak(
    point: Said["point"],
    box: Said["box"] = null,
    mask: Said["mask"] = null,
  ): Promise<void> {
    const place: XY | null = point?.[2]
      ? [point[0], point[1]]
      : box && [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    if (place) this.goTo(this.axis, place);
    return super.speak(point, box, mask);
  }

  /** The first thing that is said settles what the model sees as black and white. */
  override async tell(object: number, frame: number): Promise<void> {
    const { shown, modelWindow } = this.scan;
    if (!this.tracks.objects.length && shown.join() !== modelWindow.join()) {
      this.learn(await this.scan.setWindow(shown));
    }
    this.over.clear();
    await super.tell(object, frame);
    this.labels.delete(frame);
    this.refresh();
  }

  override async removeObject(number: number): Promise<void> {
    await super.removeObject(number);
    this.refresh();
  }

  override learn(facts: VideoFacts): void {
    super.learn(facts);
    this.fit();
  }

  /** Ways that are left; how many slices they have shows when the objects end. */
  override get left(): number {
    const ways = waysOf(this.direction).filter((way) => !this.over.has(way));
    return this.tracks.objects.length ? ways.length : 0;
  }

  override get leftText(): string {
    return "";
  }

  protected override async followWays(): Promise<void> {
    const { direction } = this;
    await this.followOne(direction, 0, 0);
    if (!this.pausing) for (const way of waysOf(direction)) this.over.add(way);
  }

  protected override async followOne(way: Direction, start: number, stop: number): Promise<void> {
    const where = this.frame;
    await super.followOne(way, start, stop);
    if (this.along) await this.seek(where); // what was clicked on, not the end of the object
  }

  override async follow(): Promise<void> {
    await super.follow();
    this.refresh();
  }

  override get kept(): KeptVideo {
    return { ...super.kept, scan: { axis: this.axis, at: this.at, window: this.window } };
  }

  override async restore(kept: KeptVideo): Promise<void> {
    if (kept.scan) {
      this.at = kept.scan.at as Three;
      this.window = this.scan.shown = kept.scan.window;
    }
    await super.restore(kept);
    this.refresh();
  }
}

/** As many digits as a window needs. */
const round = (value: number): number => Number(value.toPrecision(6));
