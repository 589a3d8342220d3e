/** The line below the photo: what to do, where the pointer is, how the model is. */

import type { Stage } from "../canvas/stage";
import { searchOf, searchText } from "../state/finding";
import type { Session } from "../state/session";
import { isEmpty } from "../state/work";
import { h } from "./dom";

const HINT_S = 30; // on one mask, then go on (Segment Anything, section 4, assisted-manual stage)

export function status(session: Session, stage: Stage): HTMLElement {
  const advice = h("span", { class: "advice", "aria-live": "polite" });
  const clock = h("span", { class: "clock" });
  const place = h("span", { class: "place" });
  const model = h("span", { class: "model" });
  const bar = h(
    "footer",
    { class: "status" },
    advice,
    h("span", { class: "stretch" }),
    clock,
    place,
    model,
  );
  const move = () => {
    const at = stage.cross ?? stage.pointer;
    const zoom = `${Math.round(session.view.scale * 100)} %`;
    const xy = at && session.editor ? `${Math.floor(at[0])}, ${Math.floor(at[1])} · ` : "";
    place.textContent = session.editor ? xy + zoom : "";
  };
  stage.told = move;
  const tick = () => {
    const { editor } = session;
    const since = session.review?.since ?? editor?.startedAt ?? 0;
    const seconds = since ? Math.floor((performance.now() - since) / 1000) : 0;
    clock.textContent = since ? `${seconds} s` : "";
    const late = seconds >= HINT_S && session.project.stage === "assisted";
    clock.dataset.late = String(late);
    const text = late
      ? `${HINT_S} s on this one: keep it as it is (Enter) and go on to the next object.`
      : say(session);
    if (advice.textContent !== text) advice.textContent = text;
  };
  setInterval(tick, 1000);
  session.watchers.push(() => {
    tick();
    move();
    const state = session.project.arm === "control" ? "no model (by hand)" : modelText(session);
    if (model.textContent !== state) model.textContent = state;
    model.dataset.state = session.modelState;
  });
  return bar;
}

function modelText(session: Session): string {
  const name = session.model()?.manifest.name;
  if (session.modelState === "loading") return "loading the model …";
  if (session.modelState === "failed" || !name) return "no model";
  return session.editor && !session.editor.seen ? `${name} looks at the photo …` : `${name} ready`;
}

const ADVICE: Record<string, string> = {
  point: "Click the object; Shift + click takes away.",
  box: "Drag a box around the object.",
  lasso: "Draw around the object, or a line along it.",
  brush: "Paint the mask; [ and ] change the size.",
  eraser: "Erase from the mask; [ and ] change the size.",
  polygon: "Click the corners; Enter closes. Drag corners to move them.",
  pick: "Click a mask; click again for the one below.",
  pan: "Drag to move, wheel to zoom.",
};

function say(session: Session): string {
  const { editor } = session;
  if (session.opening) return `Opening ${session.opening} …`;
  if (session.failed) return "This photo could not be opened; Page Down goes on.";
  if (!editor) return "Open photos to begin.";
  if (editor.finding) {
    const [done, all] = editor.finding;
    return all > 1 ? `Finding everything: ${Math.round((100 * done) / all)} %` : "Finding …";
  }
  const broken = editor.looks.violated.length;
  if (broken && !isEmpty(editor.draft)) {
    return `The mask does not obey ${broken} of the clicks: click again, or use the brush.`;
  }
  if (!isEmpty(editor.draft))
    return "Enter keeps the mask, C shows the next candidate, Esc drops it.";
  if (session.review)
    return "Is this mask right? A accepts, F fixes, R rejects, N asks for another.";
  if (searchOf(session)?.state === "running") return `Searching: ${searchText(session)}`;
  return ADVICE[session.toolName];
}
