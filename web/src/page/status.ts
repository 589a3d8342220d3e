/** The line below the image: what to do, where the pointer is, how the model is. */

import type { Stage } from "../canvas/stage";
import { searchOf, searchText } from "../state/finding";
import type { Session } from "../state/session";
import { isEmpty } from "../state/work";
import { h, setText } from "./dom";

const HINT_S = 30; // on one mask, then go on (Segment Anything, section 4, assisted-manual stage)

export function status(session: Session, stage: Stage): HTMLElement {
  const advice = h("span", { class: "advice", "aria-live": "polite" });
  const clock = h("span", { class: "clock" });
  const place = h("span", { class: "place" });
  const model = h("span", { class: "model" });
  const stretch = h("span", { class: "stretch" });
  const bar = h("footer", { class: "status" }, advice, stretch, clock, place, model);
  const move = () => {
    const at = stage.cross ?? stage.pointer;
    const zoom = `${Math.round(session.view.scale * 100)} %`;
    const xy = at && session.editor ? `${Math.floor(at[0])}, ${Math.floor(at[1])} · ` : "";
    place.textContent = session.editor ? xy + zoom : "";
  };
  stage.onDraw = move;
  const tick = () => {
    const { editor } = session;
    const since = session.review?.since ?? editor?.startedAt ?? 0;
    const seconds = since ? Math.floor((performance.now() - since) / 1000) : 0;
    clock.textContent = since ? `${seconds} s` : "";
    const late = seconds >= HINT_S && session.project.stage === "assisted";
    clock.dataset.late = String(late);
    const text = late
      ? `${HINT_S} s on this mask. Keep it (Enter) and continue with the next object.`
      : say(session);
    setText(advice, text);
  };
  setInterval(tick, 1000);
  session.watchers.push(() => {
    tick();
    move();
    setText(model, session.project.arm === "control" ? "no model (manual)" : modelText(session));
    model.dataset.state = session.modelState;
  });
  return bar;
}

function modelText(session: Session): string {
  const name = session.model()?.manifest.name;
  if (session.modelState === "loading") return "loading the model …";
  if (session.modelState === "failed" || !name) return "no model";
  if (session.opening) return name;
  return session.editor && !session.editor.encoded
    ? `${name}: encoding the image …`
    : `${name} ready`;
}

const ADVICE: Record<string, string> = {
  point: "Click the object. Shift + click marks background.",
  box: "Drag a box around the object.",
  lasso: "Draw around the object, or scribble on it.",
  brush: "Paint the mask. [ and ] change the brush size.",
  eraser: "Erase from the mask. [ and ] change the brush size.",
  polygon: "Click to add vertices, Enter closes the polygon. Drag a vertex to move it.",
  pick: "Click a mask to select it. Click again for the mask below.",
  pan: "Drag to move, scroll to zoom.",
};

function say(session: Session): string {
  const { editor } = session;
  if (session.opening) return `Opening ${session.opening} …`;
  if (session.failed) return "This image could not be opened. Page Down opens the next one.";
  if (!editor) return "Open images to start.";
  if (editor.finding) {
    const [done, all] = editor.finding;
    return all > 1 ? `Segmenting everything: ${Math.round((100 * done) / all)} %` : "Searching …";
  }
  const broken = editor.result.violated.length;
  if (broken && !isEmpty(editor.draft)) {
    return `The mask contradicts ${broken} of your clicks. Click again, or use the brush.`;
  }
  if (editor.draft.fixes)
    return "Click to add, Shift + click to take away. Enter keeps the mask, Esc restores it.";
  if (!isEmpty(editor.draft))
    return "Enter keeps the mask, C shows the next candidate, Esc discards it.";
  if (session.review)
    return "Is this mask correct? A accepts, F edits, R rejects, N opens another one.";
  if (searchOf(session)?.state === "running") return `Searching: ${searchText(session)}`;
  return ADVICE[session.toolName];
}
