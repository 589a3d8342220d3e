/** The panel beside the video: its objects, and the frames that a person should look at. */

import { isCorrected } from "../state/correcting";
import type { VideoWork } from "../state/videowork";
import type { VideoObject } from "../state/said";
import type { ObjectState } from "../state/tracks";
import { fill, h, iconButton, link, opener, setText } from "./dom";
import { choose } from "./videokeys";

const LISTED = 200; // frames to look at in the list at once
const STATES: Record<ObjectState, string> = {
  visible: "visible",
  occluded: "hidden",
  lost: "lost",
  back: "back",
};
const DOUBTS: Record<string, string> = {
  score: "low score",
  area: "sudden change of size",
  jump: "sudden change of position",
  gone: "gone",
  back: "back",
  cut: "scene cut",
};

/** known  names to choose from; back  gives the keys back to the video */
export function videoSide(videoWork: VideoWork, known: readonly string[], back: () => void) {
  const list = h("div", { class: "video-objects", role: "list", "aria-label": "Objects" });
  const rows = new Map<number, HTMLElement>();
  const names = h(
    "datalist",
    { id: "video-names" },
    ...known.map((value) => h("option", { value })),
  );
  const doubtful = h("div", { class: "video-doubts" });
  const count = h("h2", {});
  const add = link("Add object (N)", () => videoWork.addObject());
  const about = { class: "link simplify-link", type: "button" };
  const simplify = h("button", about, "Simplify outline (Ctrl+I)");
  simplify.addEventListener("click", () => {
    unfold.turn(false); // show the frame
    videoWork.simplifying.start();
  });
  videoWork.watchers.push(() => {
    const here = videoWork.objects.map((one) => {
      if (!rows.has(one.number)) rows.set(one.number, objectRow(videoWork, one.number, back));
      return rows.get(one.number)!;
    });
    for (const number of rows.keys()) if (!videoWork.object(number)) rows.delete(number);
    const same =
      here.length === list.children.length && here.every((r, i) => list.children[i] === r);
    if (!same) list.replaceChildren(...here);
    for (const one of videoWork.objects) showRow(videoWork, rows.get(one.number)!, one);
    simplify.hidden = !videoWork.tracks.of(videoWork.chosen, videoWork.frame)?.area;
    drawDoubts(videoWork, doubtful, count);
  });
  const unfold = opener("up", "Show object details", "unfold", () => element);
  const title = h("h2", {}, "Objects");
  const far = h("p", { class: "dim small" });
  videoWork.watchers.push(() => tellCounts(videoWork, title, far));
  const head = h("div", { class: "card-head" }, title, add);
  const model = h("p", { class: "dim small" }, `Tracker: ${videoWork.facts.model}`);
  const element: HTMLElement = h(
    "aside",
    { class: "side", "aria-label": "Objects and frames to review" },
    unfold.button,
    h("section", { class: "card object" }, head, model, far, list, simplify, names),
    h("section", { class: "card masks doubts-card" }, count, doubtful),
  );
  const focusName = () => rows.get(videoWork.chosen)?.querySelector<HTMLElement>(".label")?.focus();
  return { element, focusName };
}

/** How many tracks of a clip there are, and how far they are. */
function tellCounts({ clip }: VideoWork, title: HTMLElement, far: HTMLElement): void {
  far.hidden = !clip?.entries.length;
  if (!clip?.entries.length) return;
  const { proposed: proposal, accepted, rejected } = clip.counts;
  title.textContent = `Tracks: ${clip.entries.length}`;
  const text = `${proposal} to review, ${accepted} accepted, ${rejected} rejected`;
  setText(far, text);
}

/** How far a track of the project is; null: the video is no clip of one. */
function progressOf(videoWork: VideoWork, number: number): string | null {
  const { clip } = videoWork;
  if (!clip) return null;
  if (isCorrected(videoWork, number)) return "changed";
  const state = clip.of(number)?.state;
  return state === "proposed" ? "to review" : (state ?? "new");
}

function objectRow(videoWork: VideoWork, number: number, back: () => void): HTMLElement {
  const pick = h("button", { class: "video-pick", type: "button" }, h("i", { class: "dot" }));
  pick.addEventListener("click", () => choose(videoWork, number));
  const name = h("input", {
    class: "label",
    type: "text",
    list: "video-names",
    placeholder: `Object ${number}`,
    "aria-label": `Class of object ${number}`,
    maxlength: "200",
    autocomplete: "off",
    spellcheck: "false",
  });
  name.addEventListener("focus", () => choose(videoWork, number));
  name.addEventListener("input", () => videoWork.change(number, { name: name.value.trim() }));
  name.addEventListener("change", () => {
    void videoWork.clip?.rename(number, name.value.trim());
  });
  name.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    back();
  });
  const color = h("input", { type: "color", "aria-label": `Color of object ${number}` });
  color.addEventListener("input", () => videoWork.change(number, { color: color.value }));
  const state = h("span", { class: "badge" });
  const away = iconButton("trash", `Remove object ${number}`, "", () => {
    void videoWork.removeObject(number);
  });
  const far = h("span", { class: "badge far" });
  const parts = [pick, name, color, state, far, away];
  return h("div", { class: "video-object", role: "listitem" }, ...parts);
}

function showRow(
  videoWork: VideoWork,
  row: HTMLElement,
  { number, name, color }: VideoObject,
): void {
  const [pick, field, picker, badge, far, away] = row.children as unknown as [
    HTMLButtonElement,
    HTMLInputElement,
    HTMLInputElement,
    HTMLElement,
    HTMLElement,
    HTMLElement,
  ];
  const progress = progressOf(videoWork, number);
  picker.hidden = away.hidden = videoWork.tracks.isStored(number);
  far.hidden = progress === null;
  far.dataset.far = progress ?? "";
  setText(far, progress ?? "");
  const chosen = String(videoWork.chosen === number);
  pick.setAttribute("aria-pressed", chosen);
  pick.setAttribute("aria-label", `Select ${videoWork.nameOf(number)}`);
  row.dataset.chosen = chosen;
  (pick.firstElementChild as HTMLElement).style.setProperty("--color", color);
  if (document.activeElement !== field) field.value = name;
  picker.value = color;
  const here = videoWork.masksAt(videoWork.frame);
  const found = here.find(([object]) => object === number)?.[1];
  setText(badge, found ? STATES[found.state] : "–");
  badge.dataset.state = found?.state ?? "unknown";
}

function drawDoubts(videoWork: VideoWork, element: HTMLElement, count: HTMLElement): void {
  const all = videoWork.doubts;
  const said = videoWork.said.length > 0 || videoWork.clip !== null;
  const parts = videoWork.words.part === "frame" ? "Frames" : "Slices";
  count.textContent = `${parts} to review: ${new Set(all.map(({ frame }) => frame)).size}`;
  const shown = all.slice(0, LISTED);
  const signature = JSON.stringify([shown, videoWork.frame, videoWork.objects, said, all.length]);
  fill(element, signature, () => [
    ...shown.map(({ frame, object, doubts }) => {
      const why = doubts.map((doubt) => DOUBTS[doubt] ?? doubt).join(", ");
      const dot = h("i", { class: "dot" });
      dot.style.setProperty("--color", videoWork.object(object)?.color ?? "#fff");
      return h(
        "button",
        {
          class: "video-doubt",
          type: "button",
          "aria-current": frame === videoWork.frame ? "true" : null,
          onclick: () => void videoWork.seek(frame),
        },
        dot,
        h("span", {}, videoWork.label(frame)),
        h("span", { class: "name" }, `${videoWork.nameOf(object)}: ${why}`),
      );
    }),
    all.length > LISTED &&
      h("p", { class: "dim small" }, `and ${all.length - LISTED} more: press J`),
    !all.length &&
      h("p", { class: "dim small" }, said ? "None." : "Click an object, then track it."),
  ]);
}
