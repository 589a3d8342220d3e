/** Every command of the page, once: its key, its name, what it does. Keys and help read this. */

import type { Stage } from "../canvas/stage";
import { copyToNext, duplicate, merge, raise } from "../state/combining";
import { split, subtract, takePixels, turn } from "../state/combining";
import { answerConcept, conceptOf, nextConcept } from "../state/concepts";
import type { Editor } from "../state/editor";
import { everything } from "../state/everything";
import { findAllLike } from "../state/finding";
import { judge, keep, nextReview, undo } from "../state/review";
import { judgePicked, resize, selectAll } from "../state/selecting";
import { turnChannel, turnPage } from "../state/encoding";
import type { Session, ToolName } from "../state/session";
import type { Intent } from "../state/unfinished";
import { isEmpty, type Mask } from "../state/work";
import { findDialog } from "./finding";

export interface Command {
  keys: string[]; // as `keyName` writes them
  title: string;
  group: "Tools" | "Object" | "Image" | "View" | "Page";
  run: () => unknown;
  inReview?: boolean; // only while a mask or a phrase is under review
}

export interface Pages {
  help(): void;
  theme(): void;
  openFiles(): void;
  export(): void;
  import(): void;
  focusLabel(): void;
  images(): void;
  video(): void;
  names(): void;
  adjust(): void;
}

export const TOOL_KEYS: [ToolName, string, string][] = [
  ["point", "V", "Click"],
  ["box", "B", "Box"],
  ["lasso", "S", "Lasso and scribble"],
  ["brush", "P", "Brush"],
  ["eraser", "E", "Eraser"],
  ["polygon", "G", "Polygon"],
  ["pick", "O", "Select a mask"],
  ["pan", "H", "Move the image"],
];

export const NEEDS_MODEL: ToolName[] = ["point", "box", "lasso"];

/** Enter: close the polygon, keep the draft, or accept the picked proposals. */
export async function accept(session: Session, stage: Stage): Promise<void> {
  if (stage.key("Enter")) return;
  const { editor, review, simplifying } = session;
  if (simplifying.open) return simplifying.apply();
  if (!editor) return;
  if (!isEmpty(editor.draft)) {
    if (review) return keep(session);
    await editor.accept();
    return;
  }
  if (review && editor.selected?.state === "proposed") return judge(session, "accept");
  if (!review) judgePicked(editor, "accepted");
}

function remove(session: Session, stage: Stage): void {
  if (stage.key("Delete")) return;
  const { editor } = session;
  if (!editor) return;
  const { selected } = editor;
  const proposal = isEmpty(editor.draft) && selected?.state === "proposed";
  if (proposal && session.review) void judge(session, "reject");
  else if (proposal) judgePicked(editor, "rejected");
  else if (isEmpty(editor.draft)) editor.remove();
  else editor.drop();
}

function neighbor(session: Session, step: number): void {
  const { editor } = session;
  const shown = editor?.shown.filter((mask) => mask.state !== "rejected") ?? [];
  if (!editor || !shown.length) return;
  const place = shown.findIndex((mask) => mask.key === editor.state.selected);
  const next =
    place < 0 && step < 0 ? shown.length - 1 : (place + step + shown.length) % shown.length;
  editor.select(shown[next].key);
}

export function commandsOf(session: Session, stage: Stage, pages: Pages): Command[] {
  const editor = () => session.editor;
  const brush = (factor: number) => {
    session.brush = Math.min(500, Math.max(1, Math.round(session.brush * factor * 2) / 2));
    stage.draw(false);
    session.changed();
  };
  const review = (verdict: "accept" | "reject") => () =>
    conceptOf(session) ? answerConcept(session, verdict === "accept") : judge(session, verdict);
  const of =
    (group: Command["group"]) =>
    (keys: string, title: string, run: () => unknown, inReview = false): Command => {
      return { group, keys: keys.split(" "), title, run, inReview };
    };
  const [tool, object, image] = [of("Tools"), of("Object"), of("Image")];
  const [sight, page] = [of("View"), of("Page")];
  return [
    ...TOOL_KEYS.map(([name, key, title]) => tool(key, title, () => stage.use(name))),
    tool("M", "Segment everything", () => everything(session)),
    tool("[", "Smaller brush", () => brush(0.8)),
    tool("]", "Larger brush", () => brush(1.25)),

    object("Enter", "Keep the mask", () => accept(session, stage)),
    object("Escape", "Discard the current mask", () => {
      if (session.simplifying.open) session.simplifying.cancel();
      else if (!stage.key("Escape")) editor()?.drop();
    }),
    object("Delete Backspace", "Delete the mask", () => remove(session, stage)),
    ...[0, 1, 2].map((i) =>
      object(`Shift+${i + 1}`, `Candidate ${i + 1}`, () => editor()?.choose(i)),
    ),
    object("1 2 3 4 5 6 7 8 9", "Set class 1 to 9", () => undefined),
    page("Ctrl+L", "Classes of the project", () => pages.names()),
    object("C", "Next candidate", () => editor()?.choose(editor()!.draft.candidate + 1)),
    object(",", "Smaller candidate (part)", () => editor() && resize(editor()!, -1)),
    object(".", "Larger candidate (whole)", () => editor() && resize(editor()!, 1)),
    object("L", "Edit the class", () => pages.focusLabel()),
    object("Ctrl+Enter", "Use the first suggested class", () => session.naming.take(0)),
    object("Ctrl+Shift+L", "Suggest classes for all masks", () => session.naming.nameAll()),
    object("K", "Next mask", () => neighbor(session, 1)),
    object("J", "Previous mask", () => neighbor(session, -1)),
    object("Ctrl+A", "Select all masks, or all proposals", () => selectAll(session)),
    object("Q", "Edit the selected mask", () => editor()?.edit(false)),
    object("Ctrl+M", "Merge the selected masks", () => merge(session)),
    object("Ctrl+B", "Subtract the other selected masks from the first", () => subtract(session)),
    object("Ctrl+K", "Split the mask into connected parts", () => split(session)),
    object("Ctrl+I", "Simplify outline", () => session.simplifying.start()),
    object("Ctrl+X", "Remove the overlap from the masks below", () => takePixels(session)),
    object("Ctrl+Shift+X", "Remove overlap automatically (on or off)", () => turnTaking(session)),
    object("Ctrl+F", "Find similar objects", () => findAllLike(session)),
    object("Ctrl+D", "Duplicate the selected masks", () => duplicate(session)),
    object("Ctrl+E", "Copy the selected masks to the next image or page", () =>
      copyToNext(session),
    ),
    object("Z", "Lock or unlock the mask", () => turn(session, "locked")),
    object("Ctrl+H", "Hide or show the mask", () => turn(session, "hidden")),
    object("Ctrl+]", "Bring the mask to the front", () => raise(session, 1)),
    object("Ctrl+[", "Send the mask to the back", () => raise(session, -1)),
    object("Ctrl+Z", "Undo (also review decisions)", () => undo(session)),
    object("Ctrl+Shift+Z Ctrl+Y", "Redo", () => editor()?.redo()),

    image("PageDown", "Next image", () => session.go(1)),
    image("PageUp", "Previous image", () => session.go(-1)),
    image("Shift+PageDown", "Next image without masks", () => session.goUnlabelled()),
    image(">", "Next page of the file", () => turnPage(session, 1)),
    image("<", "Previous page of the file", () => turnPage(session, -1)),
    image(";", "Next channel", () => turnChannel(session, 1)),
    image(":", "Previous channel", () => turnChannel(session, -1)),
    image("Ctrl+Shift+F", "Find objects by text, in this image or all images", () =>
      findDialog(session),
    ),
    image("I", "List of images", () => pages.images()),
    image("D", "Mark image as done", () => done(session)),
    image("Ctrl+Shift+D", "Mark image as not done", () => reopen(session)),
    image("A", "Review: accept, or nothing is missing", review("accept"), true),
    image("F", "Review: correct", () => judge(session, "fix"), true),
    image("R", "Review: reject, or masks are missing", review("reject"), true),
    image("N", "Review: next mask", () => nextReview(session), true),
    image("/", "Review: next phrase", () => nextConcept(session)),

    sight("Arrows", "Move the crosshair (Shift: fast)", () => undefined),
    sight("Space", "Click at the crosshair", () => stage.press(false)),
    sight("X Shift+Space", "Background click at the crosshair", () => stage.press(true)),
    sight("+ =", "Zoom in", () => stage.zoom(1.25)),
    sight("-", "Zoom out", () => stage.zoom(0.8)),
    sight("0", "Fit the image", () => {
      session.view.fit();
      stage.draw(true);
    }),
    sight("W", "Show or hide masks", () => toggle(session, "masks")),
    sight("U", "Show or hide proposals", () => toggle(session, "proposals")),

    sight("Ctrl+G", "Guide lines", () => {
      session.changeDisplay({ guides: !session.display.guides });
    }),
    sight("Ctrl+U", "Scale bar", () => turnBar(session)),
    sight("Y", "Display settings (opacity, brightness)", () => pages.adjust()),

    page("Ctrl+O", "Open images", () => pages.openFiles()),
    page("Ctrl+S", "Export", () => pages.export()),
    page("Ctrl+Shift+S", "Import annotations", () => pages.import()),
    page("Ctrl+Shift+O", "Open a video or scan", () => pages.video()),
    page("T", "Dark or light theme", () => pages.theme()),
    page("?", "Help", () => pages.help()),
  ];
}

function turnBar(session: Session): void {
  if (!session.calibration.pixel) {
    session.say("The pixel size is unknown. Press Y and enter it.");
    return session.changed();
  }
  session.changeDisplay({ bar: !session.display.bar });
}

/** Whether new masks take their pixels from those beneath them. */
export function turnTaking(session: Session): void {
  session.taking = !session.taking;
  session.changed();
}

export function toggle(session: Session, layer: "masks" | "proposals"): void {
  session.shown = { ...session.shown, [layer]: !session.shown[layer] };
  session.editor?.refresh();
  session.changed();
}

const keptOf = (masks: readonly Mask[]) => masks.filter((mask) => mask.state !== "rejected").length;

const isFinishing = ({ unfinished }: Session) => unfinished.all.some(({ done }) => done);

export async function done(session: Session): Promise<void> {
  const { editor } = session;
  if (!editor || session.opening || isFinishing(session)) return;
  await session.unfinished.during(editor, { done: true }, () => finish(session, editor));
}

/** Do what was left unfinished when the page was closed. */
export async function goOn(session: Session, left: Intent): Promise<void> {
  const { editor } = session;
  if (editor?.entry.id !== left.image) return;
  await editor.accept();
  if (left.done) await done(session);
}

async function finish(session: Session, editor: Editor): Promise<void> {
  await editor.settled(); // a mask that is being kept
  if (!isEmpty(editor.draft))
    return session.say("Keep the current mask (Enter) or discard it (Esc) first.");
  editor.diary.note("done");
  editor.diary.send();
  try {
    await session.store.done(editor.entry.id);
    session.know(editor.entry.id, { status: "done", records: keptOf(editor.state.masks) });
    const here = session.editor === editor && !session.opening; // nobody has gone on meanwhile
    const open = editor.state.masks.filter((mask) => mask.state === "proposed").length;
    if (here) await session.go(1);
    if (open) session.say(`${editor.entry.name}: proposals not accepted, not exported: ${open}.`);
  } catch (error) {
    session.say(`The image was not marked as done. ${(error as Error).message}`);
  }
}

export const isFinished = ({ images, index }: Session) => images[index]?.status === "done";

export async function reopen(session: Session): Promise<void> {
  const { editor } = session;
  if (!editor || isFinishing(session) || !isFinished(session)) return;
  const { id } = editor.entry;
  const records = keptOf(editor.state.masks);
  try {
    await session.store.reopen(id);
    session.know(id, { status: records ? "proposed" : "new" });
  } catch (error) {
    session.say(`The image is still marked as done. ${(error as Error).message}`);
  }
}

/** A key with its modifiers as `Command.keys` names it. */
export function keyName(event: KeyboardEvent): string {
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
  const plain = !event.altKey && !event.getModifierState("AltGraph");
  if (digit && plain && !event.ctrlKey && !event.metaKey) {
    return event.shiftKey ? `Shift+${digit}` : digit; // whatever the layout has on that key
  }
  const key = event.key === " " ? "Space" : event.key;
  const letter = key.length === 1 && /[a-z]/i.test(key);
  const shift = event.shiftKey && (letter || key.length > 1);
  const control = event.ctrlKey || event.metaKey;
  const shown = letter ? key.toUpperCase() : key;
  return `${control ? "Ctrl+" : ""}${shift && (control || !letter) ? "Shift+" : ""}${shown}`;
}
