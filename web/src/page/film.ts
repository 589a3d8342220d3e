/** The page of an open video: its parts put together in place of the photo's. */

import { FilmStage } from "../canvas/filmstage";
import { View } from "../canvas/view";
import { Film } from "../state/film";
import type { KeptFilm } from "../state/said";
import type { VideoFacts, Videos } from "../store/videos";
import { h, icon, iconButton } from "./dom";
import { exportFilmDialog } from "./filmexport";
import { FILM_KEYS, FILM_MOUSE, filmCommands, listenToFilmKeys } from "./filmkeys";
import type { FilmPages } from "./filmkeys";
import { filmSide } from "./filmside";
import { helpDialog } from "./help";
import { toasts } from "./overlays";
import { toggleTheme } from "./theme";
import { timeline } from "./timeline";

const KEPT = "anymask-video"; // in the tab, so that a reload goes on with the video
const GREET_MS = 120_000; // a session that nobody asks is closed

export interface FilmPlace {
  root: HTMLElement;
  names: readonly string[]; // to choose from
  open(): void; // another video
  take(files: File[]): void; // files that were dropped
  closed(): void; // the photos are back
}

/** The video that a reload has left, or null. */
export function keptFilm(): KeptFilm | null {
  const kept = sessionStorage.getItem(KEPT);
  return kept === null ? null : (JSON.parse(kept) as KeptFilm);
}

export function forgetFilm(): void {
  sessionStorage.removeItem(KEPT);
}

/** Show a video; `closed` is called when it makes room for the photos again. */
export async function showFilm(
  place: FilmPlace,
  videos: Videos,
  facts: VideoFacts,
  kept: KeptFilm | { title: string },
): Promise<Film> {
  const film = new Film(videos, facts, kept.title, new View());
  const element = h("div", {
    class: "stage",
    tabindex: "0",
    role: "application",
    "aria-label":
      "Video. Arrow keys go through the frames, Space plays, Alt and arrow keys move a " +
      "crosshair, Enter clicks there, F follows, ? is help.",
  });
  const stage = new FilmStage(element, film);
  film.redraw = () => stage.draw();
  const back = () => element.focus();
  const side = filmSide(film, place.names, back);
  const before = [...place.root.children];
  const leave = () => {
    place.root.replaceChildren(...before);
    forgetFilm();
    void film.close();
    clearInterval(greeting);
    place.closed();
  };
  film.leave = leave;
  const pages: FilmPages = {
    help: () => help.showModal(),
    theme: () => void Promise.resolve(toggleTheme()).then(() => film.changed()),
    open: place.open,
    export: () => exportFilmDialog(film),
    name: () => side.focusName(),
    leave,
  };
  const commands = filmCommands(film, stage, pages);
  const help = helpDialog([...commands, ...FILM_KEYS], FILM_MOUSE, GROUPS);
  element.append(toasts(film));
  place.root.replaceChildren(
    header(film, pages),
    h("main", { class: "middle" }, tools(film), element, timeline(film, back)),
    side.element,
    status(film),
    help,
  );
  listenToFilmKeys(film, stage, commands);
  giveKeysBack(place.root, element);
  drawOnChange(film);
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    place.take([...(event.dataTransfer?.files ?? [])]);
  });
  const greeting = setInterval(() => void film.greet(), GREET_MS);
  Object.assign((window as unknown as { anymask: object }).anymask, { film, filmStage: stage });
  back();
  if ("name" in kept) await film.restore(kept);
  else await film.seek(0);
  if (film.length < 2) film.say("This video has one frame: there is nothing to follow.");
  return film;
}

const GROUPS = ["Video", "Object", "View", "Page"] as const;

/** Panels follow the video at most once a frame of the screen; what a reload needs is kept. */
function drawOnChange(film: Film): void {
  const panels = film.watchers.splice(0);
  let waiting = false;
  const draw = () => {
    waiting = false;
    if (film.closed) return;
    for (const panel of panels) panel();
    sessionStorage.setItem(KEPT, JSON.stringify(film.kept));
  };
  film.watchers.push(() => {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  });
  film.changed();
}

/** A button that the mouse has pressed leaves the keys to the video. */
function giveKeysBack(root: HTMLElement, element: HTMLElement): void {
  for (const part of root.children) {
    part.addEventListener("click", (event) => {
      const pressed = (event.target as HTMLElement).closest("button");
      if ((event as MouseEvent).detail && pressed && !pressed.closest("dialog")) element.focus();
    });
  }
}

function header(film: Film, pages: FilmPages): HTMLElement {
  const place = h("span", { class: "dim" });
  const saved = h("span", { class: "saved", role: "status" });
  film.watchers.push(() => {
    const { rate, size } = film.facts;
    place.textContent = `${size[1]} × ${size[0]}, ${Number(rate.toFixed(2))} frames/s`;
    const text = film.following ? "Following …" : film.asking ? "Asking …" : "Ready";
    saved.dataset.state = film.following || film.asking ? "busy" : "saved";
    if (saved.textContent !== text) saved.textContent = text;
  });
  return h(
    "header",
    { class: "header" },
    h("span", { class: "brand" }, "anymask"),
    iconButton("cross", "Close the video", "Q", pages.leave),
    iconButton("film", "Open another video", "Ctrl+O", pages.open),
    h("span", { class: "photo-name" }, h("h1", { class: "film-title" }, film.title), place),
    h("span", { class: "stretch" }),
    saved,
    iconButton("theme", "Dark or light", "T", pages.theme),
    iconButton("help", "Help", "?", pages.help),
    h(
      "button",
      { class: "button primary", type: "button", title: "Export (Ctrl+S)", onclick: pages.export },
      icon("export"),
      "Export",
    ),
  );
}

function tools(film: Film): HTMLElement {
  const kinds = [
    ["point", "Click", "V"],
    ["box", "Box", "B"],
    ["pan", "Move the frame", "H"],
  ] as const;
  const buttons = kinds.map(([name, title, key]) =>
    iconButton(name, title, key, () => {
      film.toolName = name;
      film.changed();
      film.redraw();
    }),
  );
  const undo = iconButton("undo", "Take back the last click", "Ctrl+Z", () => void film.undo());
  film.watchers.push(() => {
    kinds.forEach(([name], i) =>
      buttons[i].setAttribute("aria-pressed", String(film.toolName === name)),
    );
    undo.disabled = !film.said.length;
  });
  return h(
    "div",
    { class: "rail", role: "toolbar", "aria-label": "Tools", "aria-orientation": "vertical" },
    ...buttons,
    h("span", { class: "stretch" }),
    undo,
  );
}

function status(film: Film): HTMLElement {
  const advice = h("span", { class: "advice", "aria-live": "polite" });
  film.watchers.push(() => {
    const text = advise(film);
    if (advice.textContent !== text) advice.textContent = text;
  });
  return h("footer", { class: "status" }, advice);
}

function advise(film: Film): string {
  const name = film.nameOf(film.chosen);
  if (film.following)
    return "Masks arrive as they are found; F pauses. Click on any frame to correct.";
  if (!film.said.length) return "Click the object; Shift + click takes away. N is another object.";
  if (film.left) return `Follow it with F, or click more on ${name}.`;
  const doubtful = film.tracks.doubtful().length;
  return doubtful
    ? "J goes to the next frame to look at."
    : "Every frame is followed. Ctrl+S exports.";
}
