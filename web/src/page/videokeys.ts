/** The commands of the open video: keys, names, what they do; help reads them. */

import type { VideoStage } from "../canvas/videostage";
import type { ClipWork } from "../state/clipwork";
import type { VideoWork } from "../state/videowork";
import { keyName, type Command } from "./commands";
import { ARROWS, SLIDING, isTaken } from "./keys";

export type VideoCommand = Omit<Command, "group" | "inReview"> & {
  group: "Video" | "Object" | "Project" | "View" | "Page";
};

export interface VideoPages {
  help(): void;
  theme(): void;
  open(): void;
  export(): void;
  name(): void;
  leave(): void;
  project: boolean; // whether there is one
  keep(): void; // in it
  more: VideoCommand[]; // what a scan has
}

const PAGE_KEYS = ["Ctrl+S", "Ctrl+O"]; // also while somebody types
const FAST = 10; // frames with Shift
const STEP = 8; // screen pixels of the crosshair

export const VIDEO_MOUSE: [string, string][] = [
  ["Click", "Foreground click"],
  ["Shift + click, right click", "Background click"],
  ["Drag", "Use the selected tool: draw a box or move the frame"],
  ["Wheel", "Zoom at the pointer"],
  ["Drag on the timeline", "Go to any frame"],
];

/** Shift is for fast, and for the way back. */
export function videoCommands(
  videoWork: VideoWork,
  stage: VideoStage,
  pages: VideoPages,
): VideoCommand[] {
  const { part, whole } = videoWork.words;
  const go = (step: number) => () => videoWork.step(step);
  const tool = (name: VideoWork["toolName"]) => () => {
    videoWork.toolName = name;
    videoWork.changed();
    videoWork.redraw();
  };
  return [
    of("Video", "Start or stop playback", () => videoWork.play(), "Space"),
    of("Video", `Previous ${part}`, go(-1), "ArrowLeft"),
    of("Video", `Next ${part}`, go(1), "ArrowRight"),
    of("Video", `Ten ${part}s back`, go(-FAST), "Shift+ArrowLeft"),
    of("Video", `Ten ${part}s forward`, go(FAST), "Shift+ArrowRight"),
    of("Video", `First ${part}`, () => videoWork.seek(videoWork.first), "Home"),
    of("Video", `Last ${part}`, () => videoWork.seek(videoWork.last), "End"),
    of("Video", "Start or pause tracking", () => followOrPause(videoWork), "F"),
    of("Video", `Next ${part} to review`, () => videoWork.seekDoubtful(1), "J"),
    of("Video", `Previous ${part} to review`, () => videoWork.seekDoubtful(-1), "K"),
    of("Object", "Click tool", tool("point"), "V"),
    of("Object", "Box tool", tool("box"), "B"),
    of("Object", "Foreground click at the crosshair", () => stage.press(false), "Enter"),
    of("Object", "Background click at the crosshair", () => stage.press(true), "Shift+Enter"),
    of("Object", "Simplify outline", () => videoWork.simplifying.start(), "Ctrl+I"),
    of("Object", "Undo the last click or review decision", () => undo(videoWork), "Ctrl+Z"),
    of("Object", "Add an object", () => videoWork.addObject(), "N"),
    of("Object", "Class of the object", pages.name, "L"),
    of("Object", "Remove the object", () => videoWork.removeObject(videoWork.chosen), "Delete"),
    ...projectCommands(videoWork, pages),
    ...pages.more,
    of("View", `Fit the ${part}`, () => stage.fit(), "0"),
    of("View", "Zoom in", () => stage.zoom(1.25), "+", "="),
    of("View", "Zoom out", () => stage.zoom(0.8), "-"),
    of("View", `Move the ${part}`, tool("pan"), "H"),
    of("View", "Dark or light theme", pages.theme, "T"),
    of("Page", "Export", pages.export, "Ctrl+S"),
    of("Page", `Open another ${whole}`, pages.open, "Ctrl+O"),
    of("Page", `Close the ${whole}`, pages.leave, "Q"),
    of("Page", "Help", pages.help, "?"),
  ];
}

/** What there is in a project alone. */
function projectCommands(videoWork: VideoWork, { keep, project }: VideoPages): VideoCommand[] {
  const ofClip = (title: string, run: (clip: ClipWork) => unknown, key: string) =>
    of("Project", title, () => videoWork.clip && run(videoWork.clip), key);
  if (!project) return [];
  return [
    of("Project", "Save the correction or the object", keep, "C"),
    ofClip("Accept the track", (clip) => clip.judge("accept"), "A"),
    ofClip("Reject the track", (clip) => clip.judge("reject"), "R"),
    ofClip("Next track to review", (clip) => clip.next(), "PageDown"),
    ofClip("Discard the correction", (clip) => clip.dropCorrection(), "Escape"),
    ofClip("Undo the review decision", (clip) => clip.removeVerdict(), "U"),
  ];
}

/** The last click, or the last verdict where no click is left. */
export const undo = (videoWork: VideoWork) => videoWork.clip?.undo() ?? videoWork.undo();

export const of = (
  group: VideoCommand["group"],
  title: string,
  run: () => unknown,
  ...keys: string[]
): VideoCommand => ({ group, title, run, keys });

/** What only help shows: keys that have no command of their own. */
export const VIDEO_KEYS: VideoCommand[] = [
  of("Object", "Move the crosshair", () => undefined, "Alt+Arrows"),
  of("Object", "Select object 1 to 9", () => undefined, "1–9"),
];

export const followOrPause = (videoWork: VideoWork) =>
  videoWork.following ? videoWork.pause() : videoWork.follow();

/** Listens until the stage is no more in the page. */
export function listenToVideoKeys(
  videoWork: VideoWork,
  stage: VideoStage,
  commands: VideoCommand[],
): void {
  const listen = (event: KeyboardEvent) => {
    if (!stage.element.isConnected) return document.removeEventListener("keydown", listen);
    const name = keyName(event);
    const target = event.target as HTMLElement;
    if (isTaken(event, name, PAGE_KEYS)) return;
    const arrow = ARROWS[event.key];
    if (arrow && event.altKey) {
      event.preventDefault();
      return stage.step(arrow[0] * STEP, arrow[1] * STEP);
    }
    const presses = name === "Space" || name === "Enter" || name === "Shift+Enter";
    const own = target.matches("button, [role=slider]") && target !== stage.element;
    if (presses && own && !(name === "Space" && target.matches("[role=slider]"))) return;
    if (target.matches("[type=range]") && SLIDING.test(event.key)) return;
    const { simplifying } = videoWork;
    if (simplifying.open && (name === "Enter" || name === "Escape")) {
      event.preventDefault();
      return name === "Enter" ? simplifying.apply() : simplifying.cancel();
    }
    if (/^[1-9]$/.test(name)) {
      const chosen = videoWork.objects[Number(name) - 1];
      if (chosen) choose(videoWork, chosen.number);
      return;
    }
    const command = commands.find(({ keys }) => keys.includes(name));
    if (!command || event.altKey) return;
    event.preventDefault();
    command.run();
  };
  document.addEventListener("keydown", listen);
}

export function choose(videoWork: VideoWork, number: number): void {
  videoWork.chosen = number;
  videoWork.changed();
  videoWork.redraw();
}
