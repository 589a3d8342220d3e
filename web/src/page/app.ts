/** The page: its parts put together. */

import { onceAFrame } from "../canvas/layers";
import { Stage } from "../canvas/stage";
import type { View } from "../canvas/view";
import { patchToRle, type Patch } from "../masks/patch";
import { rleToCoco } from "../masks/rle";
import { closeConcepts, conceptOf } from "../state/concepts";
import { everything } from "../state/everything";
import { ANNOTATIONS, importFile } from "../state/importing";
import { nextReview } from "../state/review";
import { wantsProposals } from "../state/encoding";
import type { Session } from "../state/session";
import type { Arm, Stage as Mode } from "../store/store";
import { measureHovers, startBench } from "./bench";
import { NEEDS_MODEL, commandsOf } from "./commands";
import { adjustPanel, storedDisplay } from "./adjust";
import { conceptBar } from "./concepts";
import { imagesDialog } from "./images";
import { reportDialog } from "./dialogs";
import { exportDialog } from "./export";
import { fileField, h } from "./dom";
import type { VideoOpener } from "./videoopener";
import { header } from "./header";
import { helpDialog } from "./help";
import { giveKeysBack, listenToKeys } from "./keys";
import { namesDialog } from "./names";
import { emptyPage, progressLine, reviewBar, toasts } from "./overlays";
import { planeBar } from "./planebar";
import { rail } from "./rail";
import { ruler } from "./ruler";
import { side } from "./side";
import { simplifyBar } from "./simplifybar";
import { status } from "./status";
import { toggleTheme } from "./theme";

const SAMPLE = "sample.jpg"; // beside the page

export function showApp(root: HTMLElement, session: Session, view: View, door: VideoOpener): void {
  const element = h("div", {
    class: "stage",
    tabindex: "0",
    role: "application",
    "aria-label":
      "Image. Arrow keys move the crosshair, Space clicks, Enter keeps the mask, ? opens the help.",
  });
  session.display = storedDisplay();
  const stage = new Stage(element, session);
  session.redraw = () => stage.draw(true);
  const adjust = adjustPanel(session, element);
  const files = fileField("Images", "image/*", (chosen) => void addImages(session, chosen));
  files.multiple = true;
  const annotations = fileField("Annotation file", null, ([file]) => {
    if (file) void importFile(session, file);
  });
  const names = () => namesDialog(session);
  const panel = side(session, () => element.focus(), names);
  const pages = {
    help: () => help.showModal(),
    theme: () => void toggleTheme(),
    openFiles: () => {
      if (session.store.kind === "local") files.click();
    },
    export: () => exportDialog(session),
    import: () => annotations.click(),
    focusLabel: () => panel.label.focus(),
    images: () => imagesDialog(session),
    video: () => void door.ask(),
    names,
    adjust: () => {
      adjust.hidden = !adjust.hidden;
      if (!adjust.hidden) adjust.querySelector("input")?.focus();
      else element.focus();
    },
    report: () => void reportDialog(session),
  };
  const commands = commandsOf(session, stage, pages);
  const help = helpDialog(commands);
  element.append(
    emptyPage(session, pages.openFiles, () => void openSample(session), pages.video),
    progressLine(session),
    reviewBar(session),
    conceptBar(session),
    simplifyBar(session, element),
    ruler(session, stage),
    adjust,
  );
  panel.element.prepend(planeBar(session, stage));
  panel.element.append(toasts(session));
  const modes = (mode: Mode, arm: Arm) => void setMode(session, stage, mode, arm);
  root.replaceChildren(
    header(session, pages, modes),
    h("main", { class: "middle" }, rail(session, stage), element),
    panel.element,
    status(session, stage),
    files,
    annotations,
    help,
  );
  listenToKeys(session, stage, commands);
  takeDrops(element, session, door);
  giveKeysBack(root, element);
  session.watchers.push(() => rememberImage(session));
  redrawOnChange(session, stage, view);
  if (session.project.arm === "control") session.toolName = "brush";
  const hovers = Number(new URLSearchParams(location.search).get("bench"));
  if (hovers > 0) startBench(session, stage, hovers);
  const bench = (count: number) => measureHovers(session, stage, count);
  const toCoco = (patch: Patch) => rleToCoco(patchToRle(patch));
  // For the console and the tests.
  Object.assign(window, { anymask: { session, stage, bench, toCoco } });
  addEventListener("beforeunload", (event) => {
    session.editor?.diary.send();
    if (session.unfinished.all.length) event.preventDefault(); // the browser asks
  });
  element.focus();
}

/** The address names the open image, so that a reload opens it again. */
function rememberImage({ images, index }: Session): void {
  const { id } = images[index] ?? {};
  const url = new URL(location.href);
  if (id === undefined || url.searchParams.get("image") === id) return;
  url.searchParams.set("image", id);
  try {
    history.replaceState(history.state, "", url);
  } catch {
    // a browser that counts such changes: the next one is written
  }
}

/** Panels and canvases follow the session, at most once a frame. */
function redrawOnChange(session: Session, stage: Stage, view: View): void {
  const panels = session.watchers.splice(0);
  let drawn: unknown[] = [];
  const draw = () => {
    for (const panel of panels) panel();
    const { editor, image, shown, review } = session;
    const now = [
      editor,
      image,
      shown,
      editor?.state.masks,
      editor?.draft.fixes,
      review,
      conceptOf(session),
      view.scale,
      view.x,
      view.y,
    ];
    stage.draw(now.some((part, i) => part !== drawn[i]));
    drawn = now;
    stage.drawNow();
    stage.pointAs();
  };
  session.watchers.push(onceAFrame(draw));
  session.changed();
}

async function openSample(session: Session): Promise<void> {
  const response = await fetch(SAMPLE).catch(() => null);
  if (!response?.ok)
    return session.say("The sample image is missing. Open one of your images.", [], true);
  await addImages(session, [
    new File([await response.blob()], "sample.jpg", { type: "image/jpeg" }),
  ]);
}

async function addImages(session: Session, files: File[]): Promise<void> {
  if (!files.length) return;
  const known = new Set(session.images.map((image) => image.id));
  try {
    await session.store.addImages(files);
  } catch (error) {
    session.say((error as Error).message, [], true);
  }
  await session.list();
  const first = session.images.find((image) => !known.has(image.id));
  if (first) await session.open(first.id);
}

function takeDrops(element: HTMLElement, session: Session, door: VideoOpener): void {
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    void door.take([...(event.dataTransfer?.files ?? [])]).then(async (others) => {
      for (const file of others) if (ANNOTATIONS.test(file.name)) await importFile(session, file);
      const images = others.filter(({ name }) => !ANNOTATIONS.test(name));
      if (!images.length) return;
      if (session.store.kind === "local") void addImages(session, images);
      else
        session.say(
          "This project reads its images from a folder on the server. Add images to that folder.",
        );
    });
  });
}

const WORKED_ON =
  "This image already has annotations, so no proposals were added. Press M to add them. " +
  "Images without annotations get proposals automatically.";

async function setMode(session: Session, stage: Stage, mode: Mode, arm: Arm): Promise<void> {
  try {
    await session.store.configure({ stage: mode });
    session.project = { ...(await session.store.project()), arm };
  } catch (error) {
    session.say(`The mode was not changed. ${(error as Error).message}`);
    return session.changed();
  }
  session.review = null;
  closeConcepts(session);
  if (arm === "control" && NEEDS_MODEL.includes(session.toolName)) stage.use("brush");
  const proposes = mode === "semi" || mode === "auto";
  if (proposes) session.shown = { masks: true, proposals: true };
  session.editor?.refresh();
  session.changed();
  await session.wantModel();
  const { editor } = session;
  if (proposes && editor && !wantsProposals(session, editor)) session.say(WORKED_ON);
  else if (proposes && editor?.encoded) await everything(session); // else once the model has seen it
  if (mode === "review") await nextReview(session);
}
