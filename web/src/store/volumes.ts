/** Scans on the server. The page counts slices across z, y, x in turn, as frames of one video. */

import type { Direction } from "../state/said";
import type { Found, Stretch } from "../state/tracks";
import type { Server } from "./server";
import { Videos, type Line, type Prompt, type VideoFacts } from "./videos";
import type {
  LabelMeasure,
  LabeledSlicesBody,
  MeasuresBody,
  VolumeExportBody,
  VolumeOffersBody,
  VolumeStateBody,
} from "./schema";

export type { VolumeOffersBody as VolumeOffers, VolumeExportBody as VolumeWish } from "./schema";
export type Three = [z: number, y: number, x: number];
export type Window = [level: number, width: number];
export type Axis = 0 | 1 | 2; // across z, y, x

export const AXES = ["z", "y", "x"] as const;
const RATE = 8; // slices a second, played
const ENDINGS = /(\.nii(\.gz)?|\.mg[hz]|\.nrrd|\.tif|\.zip|\.dcm)$/i;

export class Volumes {
  constructor(private readonly server: Server) {}

  offers(): Promise<VolumeOffersBody> {
    return this.server.json("api/volumes");
  }

  /** Open a session about a file, or about one of the server's own scans. */
  async open(source: File | string): Promise<Scan> {
    const { name } = await this.server.json<VolumeStateBody>("api/volumes", "POST", {});
    const path = `api/volumes/${name}`;
    try {
      if (typeof source === "string") {
        return this.scan(await this.server.work(`${path}/scan`, "PUT", { scan: source }));
      }
      const ending = ENDINGS.exec(source.name.replace(/\.tiff$/i, ".tif"))?.[1] ?? ".scan";
      const headers = { "Content-Type": "application/octet-stream" };
      const init = { method: "PUT", headers, body: source };
      const query = `ending=${ending.toLowerCase()}`;
      const response = await this.server.ask(`${path}/file?${query}`, init, true);
      return this.scan(await response.json());
    } catch (error) {
      await this.server.ask(path, { method: "DELETE" }).catch(() => null); // ended so
      throw error;
    }
  }

  /** A session that is open. */
  async again(name: string): Promise<Scan> {
    return this.scan(await this.server.json(`api/volumes/${name}`));
  }

  private scan(state: VolumeStateBody): Scan {
    return new Scan(this.server, state);
  }
}

/** One session, asked as one about a video is. */
export class Scan extends Videos {
  readonly shape: Three;
  readonly spacing: Three;
  readonly facts: VideoFacts;
  modelWindow: Window; // what the model sees as black and white
  shown: Window; // what the page shows as black and white
  private readonly path: string;

  constructor(
    server: Server,
    readonly state: VolumeStateBody,
  ) {
    super(server);
    this.shape = state.shape as Three;
    this.spacing = state.spacing as Three;
    this.modelWindow = state.window as Window;
    this.shown = [...this.modelWindow];
    this.path = `api/volumes/${state.name}`;
    this.facts = this.factsOf(state);
  }

  /** The first of the slices across an axis. */
  begin(axis: Axis): number {
    return this.shape.slice(0, axis).reduce((all, one) => all + one, 0);
  }

  /** The axis and the slice of a number. */
  place(frame: number): [axis: Axis, slice: number] {
    const axis = ([2, 1, 0] as const).find((one) => frame >= this.begin(one)) ?? 0;
    return [axis, frame - this.begin(axis)];
  }

  private stretches(known: readonly number[][]): Stretch[] {
    return known.map(([axis, first, last]) => {
      const begin = this.begin(axis as Axis);
      return [begin + first, begin + last];
    });
  }

  private factsOf(state: VolumeStateBody): VideoFacts {
    this.modelWindow = state.window as Window;
    return {
      name: state.name,
      model: state.model,
      frames: this.shape.reduce((all, one) => all + one, 0),
      rate: RATE,
      times: null,
      size: [this.shape[1], this.shape[2]],
      objects: state.objects,
      known: Object.fromEntries(
        Object.entries(state.known).map(([object, known]) => [object, this.stretches(known)]),
      ),
      error: null,
      seconds_left: state.seconds_left,
    };
  }

  private async changeState(path: string, method: string, body?: unknown): Promise<VideoFacts> {
    return this.factsOf(await this.server.work(`${this.path}${path}`, method, body));
  }

  override getState(): Promise<VideoFacts> {
    return this.changeState("", "GET");
  }

  override async end(): Promise<void> {
    await this.server.ask(this.path, { method: "DELETE" }).catch(() => null); // ended so
  }

  /** A slice by the window that is shown; images by later windows have later numbers. */
  override async frameImage(_name: string, image: number): Promise<Blob> {
    const [axis, slice] = this.place(image % this.facts.frames);
    const [level, width] = this.shown;
    const path = `${this.path}/slices/${AXES[axis]}/${slice}?level=${level}&width=${width}`;
    return (await this.server.ask(path, {}, true)).blob();
  }

  /** Have the model see by another window, before anything is said. */
  setWindow([level, width]: Window): Promise<VideoFacts> {
    return this.changeState("/window", "PUT", { level, width });
  }

  override async prompt(
    _name: string,
    { frame, ...prompt }: Prompt,
  ): Promise<Found & { known: Stretch[] }> {
    const said = Object.fromEntries(Object.entries(prompt).filter(([, value]) => value !== null));
    const [axis, slice] = this.place(frame);
    const body = { ...said, axis: AXES[axis], slice, replace: true };
    type Answer = Found & { known: number[][] };
    const answer = await this.server.work<Answer>(`${this.path}/prompts`, "POST", body);
    return { ...answer, known: this.stretches(answer.known) };
  }

  override removePrompts(_name: string, object: number, frame: number): Promise<VideoFacts> {
    const [axis, slice] = this.place(frame);
    return this.changeState(`/objects/${object}/prompts/${AXES[axis]}/${slice}`, "DELETE");
  }

  override remove(_name: string, object: number): Promise<VideoFacts> {
    return this.changeState(`/objects/${object}`, "DELETE");
  }

  override follow(_name: string, way: Direction): AsyncGenerator<Line> {
    return this.slices(`masks?direction=${way}`);
  }

  override results(): AsyncGenerator<Line> {
    return this.slices("results");
  }

  override async pause(): Promise<void> {
    await this.server.ask(`${this.path}/pause`, { method: "POST" }, true);
  }

  private async *slices(what: string): AsyncGenerator<Line> {
    for await (const line of this.lines(`${this.path}/${what}`)) {
      // Where an object has ended, there is nothing to look at.
      const objects = line.objects.map((one) => (one.area ? one : { ...one, doubts: [] }));
      const { axis, slice } = line as unknown as { axis: Axis; slice: number };
      yield { frame: this.begin(axis) + slice, objects };
    }
  }

  /** The labels on the three slices through a voxel, as they would be exported. */
  async labels([z, y, x]: Three): Promise<Map<number, [object: number, found: Found][]>> {
    const path = `${this.path}/labels?z=${z}&y=${y}&x=${x}`;
    const { planes } = await this.server.work<LabeledSlicesBody>(path);
    return new Map(
      planes.map(({ axis, slice, objects }) => [
        this.begin(axis as Axis) + slice,
        objects.map(({ object, segmentation }) => [object, plain(segmentation)]),
      ]),
    );
  }

  async measures(): Promise<LabelMeasure[]> {
    return (await this.server.work<MeasuresBody>(`${this.path}/measures`)).rows;
  }

  write(wish: VolumeExportBody) {
    return this.server.file(`${this.path}/export`, wish, `scan${wish.ending}`);
  }
}

const plain = (segmentation: Found["segmentation"]): Found => ({
  ...{ segmentation, area: 1, score: 1, state: "visible", doubts: [], prompted: false },
});
