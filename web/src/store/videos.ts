/** Videos on the server: sessions over HTTP (docs/reference/http-api.md). */

import type { CocoRle } from "../masks/rle";
import type { Direction } from "../state/said";
import type { Found, Stretch } from "../state/tracks";
import { framed } from "./clips";
import type { OffersBody, ProgressBody, VideoExportBody, VideoStateBody } from "./schema";
import { Server } from "./server";
import { StoreError } from "./store";

export type { OffersBody as Offers, VideoExportBody as VideoWish } from "./schema";
export type VideoFacts = Omit<VideoStateBody, "size" | "known" | "doubtful"> & {
  size: [height: number, width: number];
  known: Record<string, Stretch[]>;
};

export interface Line {
  frame: number;
  objects: (Found & { object: number })[];
}

/** What is said of an object on a frame. */
export interface Prompt {
  frame: number;
  object: number;
  points: [number, number][] | null;
  labels: (0 | 1)[] | null;
  box: number[] | null;
  mask: CocoRle | null;
}

/** When a frame is shown, in seconds from the first one; clips of telephones vary their rate. */
export function secondsOf({ rate, times }: VideoFacts, frame: number): number {
  return times?.[frame] ?? frame / rate;
}

/** The frame that is shown at a time. */
export function frameAt({ rate, times }: VideoFacts, seconds: number): number {
  return times ? times.findLastIndex((time) => time <= seconds) : Math.floor(seconds * rate);
}

export class Videos {
  constructor(protected readonly server: Server) {}

  offers(): Promise<OffersBody> {
    return this.server.json("api/videos");
  }

  /** Open a session about a file, or about one of the server's own videos. */
  async open(source: File | string): Promise<VideoFacts> {
    const { name } = await this.server.json<VideoFacts>("api/videos", "POST", {});
    try {
      if (typeof source === "string") {
        return await this.server.json(`api/videos/${name}/clip`, "PUT", { clip: source });
      }
      const headers = { "Content-Type": source.type || "application/octet-stream" };
      const init = { method: "PUT", headers, body: source };
      return (await this.server.ask(`api/videos/${name}/file`, init, true)).json();
    } catch (error) {
      await this.end(name);
      throw error;
    }
  }

  getState(name: string): Promise<VideoFacts> {
    return this.server.json(`api/videos/${name}`);
  }

  async end(name: string): Promise<void> {
    await this.server.ask(`api/videos/${name}`, { method: "DELETE" }).catch(() => null); // ended so
  }

  async frameImage(name: string, frame: number): Promise<Blob> {
    return (await this.server.ask(`api/videos/${name}/frames/${frame}`, {}, true)).blob();
  }

  /** Say what is meant on a frame, in place of what was said there before. */
  prompt(name: string, prompt: Prompt): Promise<Found & { known: Stretch[] }> {
    const said = Object.fromEntries(Object.entries(prompt).filter(([, value]) => value !== null));
    const body = { ...said, replace: true };
    return this.server.work(`api/videos/${name}/prompts`, "POST", body);
  }

  /** Have a session know an object by masks from elsewhere. */
  async takeUp(name: string, object: number, known: [number, Found][]): Promise<void> {
    const path = `api/videos/${name}/objects/${object}/masks`;
    await this.server.work(path, "PUT", { masks: framed(known) });
  }

  removePrompts(name: string, object: number, frame: number): Promise<VideoFacts> {
    return this.server.work(`api/videos/${name}/objects/${object}/prompts/${frame}`, "DELETE");
  }

  remove(name: string, object: number): Promise<VideoFacts> {
    return this.server.work(`api/videos/${name}/objects/${object}`, "DELETE");
  }

  /** Follow the objects; a line for each frame, as it is found. */
  follow(name: string, way: Direction, start: number, stop: number): AsyncGenerator<Line> {
    return this.lines(`api/videos/${name}/masks?direction=${way}&start=${start}&stop=${stop}`);
  }

  /** What is known already; nothing is computed. */
  results(name: string): AsyncGenerator<Line> {
    return this.lines(`api/videos/${name}/results`);
  }

  /** End the following after the frame that is under way. */
  async pause(name: string): Promise<void> {
    await this.server.ask(`api/videos/${name}/pause`, { method: "POST" }, true);
  }

  /** How many frames of the export under way are written. */
  async exported(name: string): Promise<number> {
    return (await this.server.json<ProgressBody>(`api/videos/${name}/export`)).done;
  }

  /** Have a file written and fetch it; the server gives up where the signal says so. */
  export(name: string, wish: VideoExportBody, signal: AbortSignal) {
    return this.server.file(`api/videos/${name}/export`, wish, `video-${wish.format}`, signal);
  }

  protected async *lines(path: string): AsyncGenerator<Line> {
    const response = await this.server.ask(path, {}, true);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    try {
      for (;;) {
        const { done, value } = await reader.read().catch(() => {
          throw new StoreError("lost", "The server does not respond.");
        });
        const parts = (rest + (value ?? "")).split("\n");
        rest = parts.pop()!;
        for (const part of parts) yield lineOf(part);
        if (done) return;
      }
    } finally {
      void reader.cancel().catch(() => null);
    }
  }
}

/** One line of the server's. Throws where it tells of a failure. */
export function lineOf(text: string): Line {
  const line = JSON.parse(text) as Line & { error?: { message?: string } };
  if (line.error) throw new StoreError("refused", line.error.message ?? "");
  return line;
}

const VIDEOS = /\.(mp4|m4v|mov|webm|mkv|avi|mpe?g|wmv|flv|ogv|ts|3gp)$/i;

/** Whether a file is a video: by its kind or its name. */
export function isVideo(file: File): boolean {
  return file.type.startsWith("video/") || VIDEOS.test(file.name);
}
