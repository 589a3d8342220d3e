/** The bar above the image: name and number of the image, navigation, whether work is saved. */

import type { Session } from "../state/session";
import { SILENT, type Arm, type Stage as Mode } from "../store/store";
import { done, isFinished, reopen, type Pages } from "./commands";
import { exportButton, fill, h, iconButton, opener, select, setText } from "./dom";

const DONE =
  "This image is marked as done and will be exported. Click to mark it as not done (Ctrl+Shift+D)";
const TO_FINISH = "Mark this image as done and open the next one (D)";

const MODES: [Mode | "control", string][] = [
  ["assisted", "Assisted"],
  ["semi", "Semi-automatic"],
  ["auto", "Automatic"],
  ["review", "Review"],
  ["control", "Manual"],
];

export function header(
  session: Session,
  pages: Pages & { report(): void },
  mode: (stage: Mode, arm: Arm) => void,
): HTMLElement {
  const title = h("button", {
    class: "image-name",
    type: "button",
    title: "List of images (I)",
    onclick: () => pages.images(),
  });
  const modes = select({ "aria-label": "Mode" }, MODES);
  modes.addEventListener("change", () => {
    const value = modes.value as Mode | "control";
    if (value === "control") mode("assisted", "control");
    else mode(value, "model");
  });
  const saved = h("span", { class: "saved", role: "status" });
  const previous = iconButton("previous", "Previous image", "Page Up", () => void session.go(-1));
  const next = iconButton("next", "Next image", "Page Down", () => void session.go(1));
  const open = iconButton("open", "Open images", "Ctrl+O", () => pages.openFiles());
  const video = iconButton("video", "Open a video or scan", "Ctrl+Shift+O", () => pages.video());
  const finish = iconButton("check", "Mark image as done", "D", () => {
    void (isFinished(session) ? reopen(session) : done(session));
  });
  session.watchers.push(() => {
    const { images, index, project, standing } = session;
    const unfinished = session.unfinished.all;
    const finished = isFinished(session);
    finish.setAttribute("aria-pressed", String(finished));
    finish.title = finished ? DONE : TO_FINISH;
    finish.disabled = !session.editor;
    const place = index >= 0 ? `${index + 1} / ${images.length}` : `${images.length} images`;
    const name = images[index]?.name ?? "No image";
    fill(title, `${name} ${place}`, () => [
      h("strong", {}, name),
      h("span", { class: "dim" }, place),
    ]);
    previous.disabled = index <= 0;
    next.disabled = index < 0 || index >= images.length - 1;
    open.hidden = session.store.kind === "server";
    modes.value = project.arm === "control" ? "control" : project.stage;
    const text = standing.lost
      ? `${standing.lost === SILENT ? "Not connected" : "Not saved"}: ` +
        `${standing.waiting} unsaved changes`
      : standing.waiting || unfinished.length
        ? "Saving …"
        : standing.conflicts
          ? `${standing.conflicts} not saved: resolve the conflict`
          : session.store.kind === "server"
            ? "All saved"
            : "Saved in this browser";
    const unsaved = standing.waiting + standing.conflicts + unfinished.length > 0;
    saved.dataset.state = standing.lost ? "lost" : unsaved ? "busy" : "saved";
    saved.title = standing.lost ?? "Every change is saved automatically";
    setText(saved, text);
  });
  const fold = h(
    "div",
    { class: "fold" },
    modes,
    iconButton("import", "Import annotations", "Ctrl+Shift+S", () => pages.import()),
    iconButton("report", "Report", "", () => pages.report()),
    iconButton("sliders", "Display settings", "Y", () => pages.adjust()),
    iconButton("theme", "Dark or light theme", "T", () => pages.theme()),
    iconButton("help", "Help", "?", () => pages.help()),
  );
  const more = opener("more", "More", "more", () => fold);
  fold.addEventListener("click", (event) => {
    if ((event.target as HTMLElement).closest("button")) more.button.click();
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
    exportButton(pages.export),
    more.button,
  );
}
