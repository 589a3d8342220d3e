/** `?bench=100`: hover over the image so many times and say how long a mask takes. */

import type { Stage } from "../canvas/stage";
import type { Session } from "../state/session";
import { h } from "./dom";

/** Pointer to the frame with its mask in milliseconds, one hover after the other. */
export async function measureHovers(session: Session, stage: Stage, count: number) {
  const { editor } = session;
  const model = session.model();
  if (!editor?.encoded || !model) throw new Error("Open an image and wait until it is encoded.");
  stage.use("point");
  const times: number[] = [];
  const { left, top } = stage.element.getBoundingClientRect();
  for (let i = 0; i < count; i++) {
    const [height, width] = editor.hw;
    const place = [((i * 0.618) % 1) * width, ((i * 0.414) % 1) * height] as [number, number];
    const [x, y] = session.view.toScreen(place);
    const before = stage.counted;
    const where = { clientX: left + x, clientY: top + y, bubbles: true };
    stage.element.dispatchEvent(new PointerEvent("pointermove", where));
    while (stage.counted === before) await new Promise((resume) => setTimeout(resume));
    times.push(stage.latencies[stage.latencies.length - 1]);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
  return {
    hovers: count,
    median: at(0.5),
    p95: at(0.95),
    most: at(1),
    threads: model.threads,
    provider: model.provider,
  };
}

/** Measure whenever an image has been seen, and show the figures over it. */
export function startBench(session: Session, stage: Stage, count: number): void {
  const out = h("output", { class: "bench" }, "Benchmark: open an image.");
  stage.element.append(out);
  let measured: unknown = null;
  session.watchers.push(() => {
    if (!session.editor?.encoded || measured === session.editor) return;
    measured = session.editor;
    void measureHovers(session, stage, count).then((timing) => {
      out.textContent =
        `Hover to mask, ${timing.hovers} times: median ${timing.median.toFixed(1)} ms, ` +
        `95 % ${timing.p95.toFixed(1)} ms, max ${timing.most.toFixed(1)} ms ` +
        `(${timing.provider}, ${timing.threads} threads)`;
    });
  });
}
