/** The bar above the photo: name and number of the photo, navigation, whether work is saved. */

import type { Session } from "../state/session";
import { SILENT } from "../store/store";
import type { Arm, Stage as Mode } from "../store/store";
import { done, isFinished, reopen } from "./commands";
import type { Pages } from "./commands";
import { fill, h, icon, iconButton } from "./dom";

const DONE = "This photo is done and leaves with exports; press if it is not (Ctrl+Shift+D)";
const TO_FINISH = "This photo is done; go on to the next (D)";

const MODES: [Mode | "control", string][] = [
  ["assisted", "Assisted"],
  ["semi", "Semi-automatic"],
  ["auto", "Automatic"],
  ["review", "Review"],
  ["control", "By hand"],
];

export function header(
  session: Session,
  pages: Pages & { report(): void },
  mode: (stage: Mode, arm: Arm) => void,
): HTMLElement {
  const title = h("button", {
    class: "photo-name",
    type: "button",
    title: "List of photos (I)",
    onclick: () => pages.photos(),
  });
  const modes = h(
    "select",
    { "aria-label": "Way of working", class: "modes" },
    ...MODES.map(([value, text]) => h("option", { value }, text)),
  );
  modes.addEventListener("change", () => {
    const value = modes.value as Mode | "control";
    if (value === "control") mode("assisted", "control");
    else mode(value, "model");
  });
  const saved = h("span", { class: "saved", role: "status" });
  const previous = iconButton("previous", "Previous photo", "Page Up", () => void session.go(-1));
  const next = iconButton("next", "Next photo", "Page Down", () => void session.go(1));
  const open = iconButton("open", "Open photos", "Ctrl+O", () => pages.openFiles());
  const video = iconButton("video", "Open a video or a scan", "Ctrl+Shift+O", () => pages.video());
  const finish = iconButton("check", "This photo is done", "D", () => {
    void (isFinished(session) ? reopen(session) : done(session));
  });
  session.watchers.push(() => {
    const { images, index, project, standing } = session;
    const finished = isFinished(session);
    finish.setAttribute("aria-pressed", String(finished));
    finish.title = finished ? DONE : TO_FINISH;
    finish.disabled = !session.editor;
    const place = index >= 0 ? `${index + 1} / ${images.length}` : `${images.length} photos`;
    const name = images[index]?.name ?? "No photo";
    fill(title, `${name} ${place}`, () => [
      h("strong", {}, name),
      h("span", { class: "dim" }, place),
    ]);
    previous.disabled = index <= 0;
    next.disabled = index < 0 || index >= images.length - 1;
    open.hidden = session.store.kind === "server";
    modes.value = project.arm === "control" ? "control" : project.stage;
    const text = standing.lost
      ? `${standing.lost === SILENT ? "Not connected" : "Not saved"}: ${standing.waiting} to send`
      : standing.waiting
        ? "Saving …"
        : standing.asked
          ? `${standing.asked} not saved: answer the question`
          : session.store.kind === "server"
            ? "All saved"
            : "All kept in this browser";
    const unsaved = standing.waiting + standing.asked > 0;
    saved.dataset.state = standing.lost ? "lost" : unsaved ? "busy" : "saved";
    saved.title = standing.lost ?? "Every step is saved at once";
    if (saved.textContent !== text) saved.textContent = text;
  });
  const fold = h(
    "div",
    { class: "fold" },
    modes,
    iconButton("report", "Report", "", () => pages.report()),
    iconButton("sliders", "How it looks", "Y", () => pages.adjust()),
    iconButton("theme", "Dark or light", "T", () => pages.theme()),
    iconButton("help", "Help", "?", () => pages.help()),
  );
  const more = iconButton("more", "More", "", () => {
    const open = fold.dataset.open !== "true";
    fold.dataset.open = String(open);
    more.setAttribute("aria-expanded", String(open));
  });
  more.classList.add("more");
  more.setAttribute("aria-expanded", "false");
  fold.addEventListener("click", (event) => {
    if ((event.target as HTMLElement).closest("button")) more.click();
  });
  return h(
    "header",
    { class: "header" },
    h("h1", { class: "brand" }, "anymask"),
    open,
    video,
    previous,
    title,
    next,
    finish,
    h("span", { class: "stretch" }),
    saved,
    fold,
    h(
      "button",
      { class: "button primary", type: "button", title: "Export (Ctrl+S)", onclick: pages.export },
      icon("export"),
      "Export",
    ),
    more,
  );
}
