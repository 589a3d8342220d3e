/** The timeline: which frames are done, objects' states, frames to look at, where one is. */

import { css } from "../canvas/colors";
import type { VideoWork } from "../state/videowork";
import type { Direction } from "../state/said";
import type { Cell } from "../state/tracks";
import { followOrPause } from "./videokeys";
import { fill, h, icon, iconButton as button, select } from "./dom";

const ROW = 18; // CSS pixels of an object's row
const HEAD = 12; // of the row of marks above them
const DIRECTIONS: [Direction, string][] = [
  ["forward", "Forward"],
  ["backward", "Backward"],
  ["both", "Both directions"],
];

export function timeline(videoWork: VideoWork, back: () => void): HTMLElement {
  const names = h("div", { class: "track-names", "aria-hidden": "true" });
  const canvas = h("canvas", { "aria-hidden": "true" });
  const slider = h(
    "div",
    {
      class: "track-rows",
      role: "slider",
      tabindex: "0",
      "aria-label": videoWork.words.part === "frame" ? "Frame" : "Slice",
      "aria-orientation": "horizontal",
    },
    canvas,
  );
  takePointer(videoWork, slider, back);
  const draw = () => drawRows(videoWork, canvas, slider.clientWidth);
  new ResizeObserver(draw).observe(slider);
  videoWork.watchers.push(() => {
    slider.setAttribute("aria-valuemin", String(videoWork.numberOf(videoWork.first)));
    slider.setAttribute("aria-valuemax", String(videoWork.numberOf(videoWork.last)));
    slider.setAttribute("aria-valuenow", String(videoWork.numberOf(videoWork.frame)));
    slider.setAttribute("aria-valuetext", describeFrame(videoWork));
    fill(names, JSON.stringify(videoWork.objects), () =>
      videoWork.objects.map(({ number }) => h("span", {}, videoWork.nameOf(number))),
    );
    draw();
  });
  const rows = h("div", { class: "tracks" }, names, slider);
  return h("section", { class: "timeline", "aria-label": "Timeline" }, transport(videoWork), rows);
}

/** What a screen reader says of the frame. */
function describeFrame(videoWork: VideoWork): string {
  const states = videoWork.tracks.at(videoWork.frame).map(([object, { state, doubts }]) => {
    const doubt = doubts.length ? `, to review: ${doubts.join(", ")}` : "";
    return `${videoWork.nameOf(object)} ${state}${doubt}`;
  });
  return [videoWork.spoken(videoWork.frame), ...states].join("; ");
}

function transport(videoWork: VideoWork): HTMLElement {
  const { part } = videoWork.words;
  const play = h("button", { class: "icon-button", type: "button" });
  play.addEventListener("click", () => void videoWork.play());
  const place = h("span", { class: "where" });
  const follow = h("button", { class: "button primary", type: "button" });
  follow.addEventListener("click", () => void followOrPause(videoWork));
  const direction = select({ "aria-label": "Direction" }, DIRECTIONS);
  direction.value = videoWork.direction;
  direction.addEventListener("change", () => {
    videoWork.direction = direction.value as Direction;
    videoWork.changed();
  });
  videoWork.watchers.push(() => {
    fill(play, String(videoWork.playing), () => [icon(videoWork.playing ? "pause" : "play")]);
    const does = videoWork.playing ? "Stop (Space)" : "Play (Space)";
    play.title = does;
    play.setAttribute("aria-label", does);
    place.textContent = videoWork.where(videoWork.frame);
    const { left } = videoWork;
    const again = videoWork.doubts.length || videoWork.said.length > videoWork.objects.length;
    const text = videoWork.following
      ? "Pause"
      : left
        ? `Track${videoWork.leftText}`
        : "Tracking complete";
    fill(follow, `${text} ${again}`, () => [
      icon(videoWork.following ? "pause" : "follow"),
      text,
      h("kbd", {}, "F"),
    ]);
    follow.disabled = !videoWork.following && !left;
    direction.disabled = videoWork.following !== null;
  });
  return h(
    "div",
    { class: "transport" },
    button("first", `First ${part}`, "Home", () => void videoWork.seek(videoWork.first)),
    button("previous", `Previous ${part}`, "←", () => void videoWork.step(-1)),
    play,
    button("next", `Next ${part}`, "→", () => void videoWork.step(1)),
    button("last", `Last ${part}`, "End", () => void videoWork.seek(videoWork.last)),
    place,
    h("span", { class: "stretch" }),
    button("flagBack", `Previous ${part} to review`, "K", () => void videoWork.seekDoubtful(-1)),
    button("flag", `Next ${part} to review`, "J", () => void videoWork.seekDoubtful(1)),
    direction,
    follow,
  );
}

function takePointer(videoWork: VideoWork, slider: HTMLElement, back: () => void): void {
  const at = (event: PointerEvent) => {
    const { left, width } = slider.getBoundingClientRect();
    const share = (event.clientX - left) / Math.max(1, width);
    const place = Math.floor(Math.min(0.9999, Math.max(0, share)) * videoWork.length);
    void videoWork.seek(videoWork.first + place);
  };
  slider.addEventListener("pointerdown", (event) => {
    slider.setPointerCapture(event.pointerId);
    videoWork.stop();
    at(event);
  });
  slider.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) at(event);
  });
  slider.addEventListener("pointerup", back);
}

// --------------------------------------------------------------------------------------- drawing

function drawRows(videoWork: VideoWork, canvas: HTMLCanvasElement, width: number): void {
  const height = HEAD + ROW * videoWork.objects.length;
  const ratio = devicePixelRatio;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d")!;
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const color = (name: string) => style.getPropertyValue(name);
  const count = Math.max(1, Math.min(videoWork.length, Math.floor(width)));
  const step = width / count;
  const marks = Array<boolean>(count).fill(false);
  videoWork.objects.forEach(({ number }, row) => {
    const top = HEAD + row * ROW;
    context.fillStyle = color("--raised");
    context.fillRect(0, top + 2, width, ROW - 4);
    videoWork.tracks.cells(number, videoWork.length, count, videoWork.first).forEach((cell, i) => {
      marks[i] ||= cell.doubtful;
      drawCell(context, cell, [i * step, top, step], css(videoWork.color(number)), color("--text"));
    });
  });
  context.fillStyle = color("--warn");
  marks.forEach((marked, i) => {
    if (!marked) return;
    const middle = (i + 0.5) * step;
    context.beginPath();
    context.moveTo(middle - 4, 1);
    context.lineTo(middle + 4, 1);
    context.lineTo(middle, 9);
    context.fill();
  });
  const x = ((videoWork.frame - videoWork.first + 0.5) / videoWork.length) * width;
  context.fillStyle = color("--text");
  context.fillRect(Math.round(x) - 1, 0, 2, height);
}

/** Visible fills the row, occluded half of it, lost is a line: the state is told without color. */
function drawCell(
  context: CanvasRenderingContext2D,
  cell: Cell,
  [x, top, width]: number[],
  color: string,
  mark: string,
): void {
  const gap = width > 4 ? 1 : 0;
  const thick = { visible: ROW - 4, back: ROW - 4, occluded: 6, lost: 2 };
  if (cell.state) {
    const height = thick[cell.state];
    context.fillStyle = color;
    context.fillRect(x, top + (ROW - height) / 2, width - gap, height);
  }
  if (cell.prompted) {
    const [cx, cy] = [x + width / 2, top + ROW / 2];
    context.beginPath();
    context.arc(cx, cy, 4, 0, 2 * Math.PI);
    context.fillStyle = "#fff";
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = "#000";
    context.stroke();
  }
  if (cell.state === "back") {
    context.fillStyle = mark;
    context.fillRect(x, top + 2, Math.min(2, width), ROW - 4);
  }
}
