/** The panel at the right: name, candidates, layers, the list of masks. */

import type { Patch } from "../masks/patch";
import { judgePicked, pickedProposals } from "../state/selecting";
import type { Session } from "../state/session";
import { isEmpty } from "../state/work";
import { fill, h, opener } from "./dom";
import { leastSlider, drawLayers, maskList } from "./masklist";
import { maskBar, notesCard } from "./maskbar";
import { objectCard } from "./object";

const THUMB = 74;

export function side(session: Session, kept: () => void, names: () => void) {
  const object = objectCard(session, kept, names);
  const candidates = h("div", { class: "candidates", role: "radiogroup" });
  candidates.setAttribute("aria-label", "Candidates");
  const granularity = granularityChoice(session);
  const actions = h("div", { class: "actions" });
  const layers = h("div", { class: "layers" });
  const list = maskList(session);
  session.watchers.push(() => {
    const { project } = session;
    drawCandidates(session, candidates);
    granularity.hidden = project.arm === "control";
    drawActions(session, actions);
    drawLayers(session, layers);
    if (session.simplifying.open) unfold.turn(false); // show the image
  });
  const unfold = opener("up", "Show object and mask details", "unfold", () => element);
  const element: HTMLElement = h(
    "aside",
    { class: "side", "aria-label": "Object and masks" },
    unfold.button,
    object.element,
    h(
      "section",
      { class: "card candidates-card" },
      h("h2", {}, "Candidates"),
      candidates,
      granularity,
      actions,
      maskBar(session),
    ),
    notesCard(session),
    h("section", { class: "card masks" }, layers, leastSlider(session), list),
  );
  return { element, label: object.label };
}

function granularityChoice(session: Session): HTMLElement {
  const choices: [string, "all" | number, string][] = [
    ["Part", 0, "Prefer the smallest candidate with a good score"],
    ["Best", "all", "Prefer the candidate with the best score"],
    ["Whole", 1, "Prefer the largest good candidate"],
  ];
  const buttons = choices.map(([text, value, title]) =>
    h(
      "button",
      {
        type: "button",
        title,
        onclick: () => {
          session.part = value;
          void session.editor?.update();
          session.changed();
        },
      },
      text,
    ),
  );
  session.watchers.push(() =>
    choices.forEach(([, value], i) =>
      buttons[i].setAttribute("aria-pressed", String(session.part === value)),
    ),
  );
  return h("div", { class: "segments", role: "group", "aria-label": "Part or whole" }, ...buttons);
}

function drawCandidates(session: Session, element: HTMLElement): void {
  const { editor } = session;
  const found = editor?.result.candidates ?? [];
  const chosen = Math.min(editor?.draft.candidate ?? 0, found.length - 1);
  const signature = editor
    ? `${editor.thinking} ${found.length} ${chosen} ${editor.result.keep} ${editor.result.score}`
    : "";
  fill(element, signature, () =>
    found.length && editor
      ? found.map(({ patch, score }, i) =>
          h(
            "button",
            {
              class: "candidate",
              type: "button",
              role: "radio",
              "aria-checked": String(i === chosen),
              "aria-label": `Candidate ${i + 1}, score ${score.toFixed(2)}`,
              onclick: () => editor.choose(i),
            },
            thumbnail(patch),
            h("span", {}, h("kbd", {}, `⇧${i + 1}`), score.toFixed(2)),
          ),
        )
      : [h("p", { class: "dim small" }, hint(session))],
  );
}

function hint(session: Session): string {
  if (session.project.arm === "control")
    return "Manual mode: use the brush (P) or the polygon (G).";
  if (session.modelState === "failed")
    return "No model loaded: use the brush (P) or the polygon (G).";
  return "Click an object. Shift\u00a0+\u00a0click marks background.";
}

/** The mask alone, small. */
function thumbnail(patch: Patch): HTMLCanvasElement {
  const canvas = h("canvas", { width: THUMB, height: THUMB, "aria-hidden": "true" });
  const context = canvas.getContext("2d")!;
  const step = Math.max(patch.width, patch.height, 1) / (THUMB - 8);
  const left = (THUMB - patch.width / step) / 2;
  const top = (THUMB - patch.height / step) / 2;
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  for (let y = 0; y < THUMB; y++) {
    for (let x = 0; x < THUMB; x++) {
      const [px, py] = [Math.floor((x - left) * step), Math.floor((y - top) * step)];
      const inside = px >= 0 && py >= 0 && px < patch.width && py < patch.height;
      if (inside && patch.data[py * patch.width + px]) context.fillRect(x, y, 1, 1);
    }
  }
  return canvas;
}

function drawActions(session: Session, element: HTMLElement): void {
  const { editor } = session;
  const making = editor !== null && !isEmpty(editor.draft);
  const selected = editor?.selected ?? null;
  const label = editor?.state.label.trim();
  const keep = label ? `Keep as ${label}` : "Keep";
  const picked = editor ? pickedProposals(editor).length : 0;
  const several = picked > 1 && ` ${picked}`;
  const { review } = session;
  const signature = JSON.stringify([
    making && keep,
    selected?.key,
    selected?.state,
    picked,
    review,
  ]);
  const press = (text: string, key: string, run: () => void, kind = "") =>
    h(
      "button",
      { class: `button ${kind}`, type: "button", title: text, onclick: run },
      h("span", {}, text),
      h("kbd", {}, key),
    );
  fill(element, signature, () => {
    if (!editor || session.review) return [];
    if (making) {
      return [
        press(keep, "Enter", () => void editor.accept(), "primary"),
        press("Discard", "Esc", () => editor.drop()),
      ];
    }
    if (selected?.state === "proposed") {
      return [
        press(`Accept${several || ""}`, "Enter", () => judgePicked(editor, "accepted"), "primary"),
        ...(several ? [] : [press("Edit", "Q", () => editor.edit(false))]),
        press(`Reject${several || ""}`, "Del", () => judgePicked(editor, "rejected")),
      ];
    }
    if (!selected) return [];
    return [
      press("Edit", "Q", () => editor.edit(false)),
      press("Outline", "G", () => editor.edit(true)),
      press("Delete", "Del", () => editor.remove()),
    ];
  });
}
