/** A worker of the model and the questions to it. */

import type { Asks, Kind, Progress, Reply } from "./messages";

interface Waiting {
  done: (value: never) => void;
  failed: (error: Error) => void;
  progress?: Progress;
}

/** One worker and the questions that it has not answered yet. */
export class ModelWorker {
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url), {
    type: "module",
  });
  private readonly waiting = new Map<number, Waiting>();
  private count = 0;

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      const asked = this.waiting.get(data.id);
      if (!asked) return;
      if ("progress" in data) return asked.progress?.(...data.progress);
      this.waiting.delete(data.id);
      if ("error" in data) asked.failed(new Error(data.error));
      else asked.done(data.value as never);
    };
    this.worker.onerror = (event) => {
      const error = new Error(`The model stopped: ${event.message || "unknown"}`);
      for (const asked of this.waiting.values()) asked.failed(error);
      this.waiting.clear();
    };
  }

  end(): void {
    this.worker.terminate();
    for (const asked of this.waiting.values()) asked.failed(new Error("The model was closed."));
    this.waiting.clear();
  }

  ask<K extends Kind>(
    kind: K,
    ask: Asks[K]["ask"],
    progress?: Progress,
    moved: Transferable[] = [],
  ): Promise<Asks[K]["reply"]> {
    const id = ++this.count;
    return new Promise((done, failed) => {
      this.waiting.set(id, { done, failed, progress });
      this.worker.postMessage({ id, kind, ...ask }, moved);
    });
  }
}
