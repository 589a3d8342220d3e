/** The page of an open video: its parts put together in place of the image's. */

import { onceAFrame } from "../canvas/layers";
import { VideoStage } from "../canvas/videostage";
import { ClipWork, keepVideo, type TrackStep } from "../state/clipwork";
import { isBegun, isCorrected, takesAway, unstored } from "../state/correcting";
import type { VideoWork } from "../state/videowork";
import type { KeptVideo } from "../state/said";
import type { ClipEntry, Clips } from "../store/clips";
import { exportButton, h, iconButton, setText } from "./dom";
import { giveKeysBack } from "./keys";
import { clipBar } from "./clipbar";
import { exportVideoDialog } from "./videoexport";
import { VIDEO_KEYS, VIDEO_MOUSE, videoCommands, listenToVideoKeys, undo } from "./videokeys";
import type { VideoCommand, VideoPages } from "./videokeys";
import { videoSide } from "./videoside";
import { helpDialog } from "./help";
import { toasts } from "./overlays";
import { simplifyBar } from "./simplifybar";
import { toggleTheme } from "./theme";
import { timeline } from "./timeline";

const KEPT = "anymask-video"; // in the tab, so that a reload goes on with the video
const GREET_MS = 120_000; // a session that nobody asks is closed

export interface VideoPlace {
  root: HTMLElement;
  names: readonly string[]; // to choose from
  open(): void; // another video
  take(files: File[]): void; // files that were dropped
  closed(): void; // the images are back
  project: Clips | null; // that videos can be kept in
  clip: ClipEntry | null; // what the video is there
  openClip(clip: ClipEntry | number, object: number | null): void;
  done: TrackStep[]; // what can be undone in clips
}

/** The video that a reload has left, or null. */
export function keptVideo(): KeptVideo | null {
  const kept = sessionStorage.getItem(KEPT);
  return kept === null ? null : (JSON.parse(kept.replaceAll('"colour":', '"color":')) as KeptVideo);
}

export function forgetVideo(): void {
  sessionStorage.removeItem(KEPT);
}

/** What a scan has besides. */
export interface Extras {
  beside: HTMLElement[]; // of the image
  card: HTMLElement; // at the side
  export: () => void;
  commands: VideoCommand[];
  mouse: [string, string][];
}

/** Show a video or a scan; `closed` is called when it makes room for the images again. */
export async function showVideo(
  place: VideoPlace,
  videoWork: VideoWork,
  kept: KeptVideo | { title: string; object: number | null },
  extrasOf: (back: () => void) => Extras | null = () => null,
): Promise<VideoWork> {
  const { project } = place;
  const { part, whole } = videoWork.words;
  const Whole = whole[0].toUpperCase() + whole.slice(1);
  if (place.clip && project) {
    const { clip, openClip, done } = place;
    videoWork.clip = new ClipWork(project, clip, videoWork, openClip, done);
    videoWork.reopen = () => openClip(clip, videoWork.chosen);
    await videoWork.clip.load("object" in kept ? kept.object : null);
  }
  const element = h("div", {
    class: "stage",
    tabindex: "0",
    role: "application",
    "aria-label":
      `${Whole}. Arrow keys change the ${part}, Space plays, Alt and arrow keys move the ` +
      "crosshair, Enter clicks, F tracks, ? opens the help.",
  });
  const stage = new VideoStage(element, videoWork);
  videoWork.redraw = () => stage.draw();
  const back = () => element.focus();
  const side = videoSide(videoWork, place.names, back);
  const extras = extrasOf(back);
  if (extras) side.element.append(extras.card);
  const before = [...place.root.children];
  const leave = () => {
    place.root.replaceChildren(...before);
    forgetVideo();
    void videoWork.close();
    clearInterval(greeting);
    removeEventListener("beforeunload", warn);
    place.closed();
  };
  const warn = (event: BeforeUnloadEvent) => {
    if (videoWork.clip?.saving || (videoWork.clip && unstored(videoWork).length)) {
      event.preventDefault();
    }
  };
  addEventListener("beforeunload", warn);
  videoWork.leave = leave;
  const away = (go: () => void) => (videoWork.clip ? videoWork.clip.away(go) : go());
  const pages: VideoPages = {
    help: () => help.showModal(),
    theme: () => void Promise.resolve(toggleTheme()).then(() => videoWork.changed()),
    open: () => away(place.open),
    export: () =>
      extras
        ? extras.export()
        : exportVideoDialog(videoWork, videoWork.clip || !project ? null : keep),
    name: () => side.focusName(),
    leave: () => away(leave),
    more: extras?.commands ?? [],
    project: project !== null && !extras,
    keep: () => (videoWork.clip ? void videoWork.clip.keep() : project && keep()),
  };
  const keep = () => void keepWhole(videoWork, place);
  const commands = videoCommands(videoWork, stage, pages);
  const groups = GROUPS.filter((group) => pages.project || group !== "Project");
  const help = helpDialog([...commands, ...VIDEO_KEYS], extras?.mouse ?? VIDEO_MOUSE, groups);
  element.append(simplifyBar(videoWork, element));
  side.element.append(toasts(videoWork));
  const time = timeline(videoWork, back);
  time.prepend(clipBar(videoWork, pages.project ? keep : null));
  place.root.replaceChildren(
    header(videoWork, pages),
    h("main", { class: "middle" }, tools(videoWork), element, ...(extras?.beside ?? []), time),
    side.element,
    status(videoWork),
    help,
  );
  listenToVideoKeys(videoWork, stage, commands);
  giveKeysBack(place.root, element);
  drawOnChange(videoWork);
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    const files = [...(event.dataTransfer?.files ?? [])];
    away(() => place.take(files));
  });
  const greeting = setInterval(() => void videoWork.greet(), GREET_MS);
  Object.assign((window as unknown as { anymask: object }).anymask, {
    videoWork,
    videoStage: stage,
  });
  back();
  if ("name" in kept) await videoWork.restore(kept);
  else if (videoWork.clip) await videoWork.clip.show(videoWork.chosen);
  else await videoWork.begin();
  if (videoWork.length < 2) {
    videoWork.say(`This ${whole} has only one ${part}. Tracking requires at least two.`);
  }
  return videoWork;
}

const keeping = new WeakSet<VideoWork>(); // while it is under way, C does nothing

/** Keep the video and its objects in the project, where they are opened then. */
async function keepWhole(videoWork: VideoWork, place: VideoPlace): Promise<void> {
  if (!place.project || videoWork.asking || keeping.has(videoWork)) return;
  keeping.add(videoWork);
  try {
    const clip = await keepVideo(videoWork, place.project);
    if (clip) place.openClip(clip, null);
  } catch (error) {
    videoWork.say(`Not saved. ${(error as Error).message}`);
  } finally {
    keeping.delete(videoWork);
  }
}

const GROUPS = ["Video", "Object", "Project", "View", "Page"];

/** Panels follow the video at most once a frame of the screen; what a reload needs is kept. */
function drawOnChange(videoWork: VideoWork): void {
  const panels = videoWork.watchers.splice(0);
  const draw = () => {
    if (videoWork.closed) return;
    for (const panel of panels) panel();
    sessionStorage.setItem(KEPT, JSON.stringify(videoWork.kept));
  };
  videoWork.watchers.push(onceAFrame(draw));
  videoWork.changed();
}

function header(videoWork: VideoWork, pages: VideoPages): HTMLElement {
  const { whole } = videoWork.words;
  const place = h("span", { class: "dim" });
  const saved = h("span", { class: "saved", role: "status" });
  videoWork.watchers.push(() => {
    place.textContent = videoWork.about;
    const storing = !!videoWork.clip?.saving;
    const busy = !!videoWork.following || storing || videoWork.asking > 0;
    const text = videoWork.following
      ? "Tracking …"
      : storing
        ? "Saving …"
        : busy
          ? "Predicting …"
          : stateOf(videoWork);
    saved.dataset.state = busy || text.endsWith("not saved") ? "busy" : "saved";
    setText(saved, text);
  });
  return h(
    "header",
    { class: "header" },
    h("span", { class: "brand" }, "anymask"),
    iconButton("cross", `Close the ${whole}`, "Q", pages.leave),
    iconButton("video", `Open another ${whole}`, "Ctrl+O", pages.open),
    h("span", { class: "image-name" }, h("h1", { class: "video-title" }, videoWork.title), place),
    h("span", { class: "stretch" }),
    saved,
    iconButton("theme", "Dark or light theme", "T", pages.theme),
    iconButton("help", "Help", "?", pages.help),
    exportButton(pages.export),
  );
}

function stateOf(videoWork: VideoWork): string {
  if (!videoWork.clip) return "Ready";
  const { length } = unstored(videoWork);
  return length ? `${length} not saved` : "All saved";
}

function tools(videoWork: VideoWork): HTMLElement {
  const { part } = videoWork.words;
  const kinds = [
    ["point", "Click", "V"],
    ["box", "Box", "B"],
    ...(part === "slice"
      ? ([["window", "Drag to change the window level and width", "W"]] as const)
      : []),
    ["pan", `Move the ${part}`, "H"],
  ] as const;
  const icons = { point: "point", box: "box", window: "sliders", pan: "pan" } as const;
  const buttons = kinds.map(([name, title, key]) =>
    iconButton(icons[name], title, key, () => {
      videoWork.toolName = name;
      videoWork.changed();
      videoWork.redraw();
    }),
  );
  const minus = iconButton("minus", "Background clicks", "", () => {
    videoWork.subtracting = takesAway(videoWork) ? null : videoWork.chosen;
    videoWork.toolName = "point";
    videoWork.changed();
  });
  minus.classList.add("for-fingers");
  const back = iconButton("undo", "Undo the last click", "Ctrl+Z", () => void undo(videoWork));
  videoWork.watchers.push(() => {
    kinds.forEach(([name], i) =>
      buttons[i].setAttribute("aria-pressed", String(videoWork.toolName === name)),
    );
    minus.setAttribute("aria-pressed", String(takesAway(videoWork)));
    minus.disabled = !isBegun(videoWork, videoWork.chosen);
    back.disabled = !videoWork.said.length && !videoWork.clip;
  });
  return h(
    "div",
    { class: "rail", role: "toolbar", "aria-label": "Tools", "aria-orientation": "vertical" },
    buttons[0],
    minus,
    ...buttons.slice(1),
    h("span", { class: "stretch" }),
    back,
  );
}

function status(videoWork: VideoWork): HTMLElement {
  const advice = h("span", { class: "advice", "aria-live": "polite" });
  videoWork.watchers.push(() => setText(advice, advise(videoWork)));
  return h("footer", { class: "status" }, advice);
}

function advise(videoWork: VideoWork): string {
  const { clip } = videoWork;
  const { part } = videoWork.words;
  const name = videoWork.nameOf(videoWork.chosen);
  const entry = clip?.of(videoWork.chosen);
  if (videoWork.following) return `Tracking. F pauses. Click on any ${part} to correct.`;
  if (entry && entry.state !== "proposed" && !isCorrected(videoWork, entry.object))
    return `${name} is ${entry.state}. U undoes this, Page ↓ opens the next track.`;
  if (entry && !isCorrected(videoWork, entry.object))
    return (
      `Is ${name} correct on every ${part}? ` +
      "A accepts, R rejects, a click corrects it from here."
    );
  if (entry && !videoWork.left) return "C saves the correction, Esc discards it.";
  if (!videoWork.said.length)
    return "Click the object. Shift + click marks background, N adds an object.";
  if (videoWork.left) return `F tracks the object. Click again to refine ${name}.`;
  const doubtful = videoWork.doubts.length;
  return doubtful
    ? `J goes to the next ${part} to review.`
    : `Every ${part} is tracked. Ctrl+S exports.`;
}
