/** Videos of a project on the server: clips, their tracks, and what people say of them. */

import type { Found, ObjectState } from "../state/tracks";
import type { Server } from "./server";
import type { ClipEntry, ClipsBody, TrackEntry, TrackVerdictBody } from "./schema";
import type { VideoFacts } from "./videos";

export type { ClipEntry, TrackEntry } from "./schema";
export type TrackVerdict = TrackVerdictBody["verdict"];

/** A mask of a track as it travels. */
type FramedMask = Found & { frame: number };

export const framed = (masks: Iterable<readonly [number, Found]>): FramedMask[] =>
  [...masks].map(([frame, { segmentation, area, score, state, doubts, prompted }]) => ({
    ...{ frame, segmentation, area, score, state, doubts, prompted },
  }));

export class Clips {
  constructor(private readonly server: Server) {}

  /** The clips, and the names of the folder's videos that are none yet. */
  list(): Promise<ClipsBody> {
    return this.server.json("api/clips");
  }

  /** Take up a video of the folder, or the file of a session, which is copied there. */
  take(name: string, video?: string): Promise<ClipEntry> {
    return this.server.work("api/clips", "POST", { name, video });
  }

  session(clip: number): Promise<VideoFacts> {
    return this.server.work(`api/clips/${clip}/session`, "POST");
  }

  async tracks(clip: number): Promise<TrackEntry[]> {
    const path = `api/clips/${clip}/tracks`;
    return (await this.server.json<{ tracks: TrackEntry[] }>(path)).tracks;
  }

  async masks(track: number): Promise<[number, Found][]> {
    type Told = { masks: (Found & { frame: number; state: ObjectState })[] };
    const { masks } = await this.server.work<Told>(`api/tracks/${track}/masks`);
    return masks.map(({ frame, ...found }) => [frame, found]);
  }

  keep(
    clip: number,
    draft: { object: number; label: string | null; masks: FramedMask[]; seconds: number },
  ): Promise<TrackEntry> {
    const provenance = { by: "model", tool: "track" };
    return this.server.work(`api/clips/${clip}/tracks`, "POST", { ...draft, provenance });
  }

  judge(
    { id, version }: TrackEntry,
    verdict: TrackVerdict,
    seconds: number,
    masks: FramedMask[] = [],
  ): Promise<TrackEntry> {
    const body = { verdict, version, seconds, masks };
    return this.server.work(`api/tracks/${id}/verdict`, "POST", body);
  }

  removeVerdict(track: number): Promise<TrackEntry> {
    return this.server.json(`api/tracks/${track}/verdict`, "DELETE");
  }

  /** Give a track another name in place of the one that it has here. */
  rename({ id, label: was }: TrackEntry, label: string | null): Promise<TrackEntry> {
    return this.server.work(`api/tracks/${id}/label`, "PUT", { label, was });
  }

  /** The track to look at next, of this clip first, those behind `after` first; null: none. */
  next(clip: number | null, after: number | null): Promise<TrackEntry | null> {
    const parts = [clip !== null && `clip=${clip}`, after !== null && `after=${after}`];
    return this.server.json(`api/tracks/next?${parts.filter(Boolean).join("&")}`);
  }
}
