/** The masks of the image: their layers, the slider over proposals, and the list. */

import { css, maskColor } from "../canvas/colors";
import { scoreOf } from "../state/everything";
import { selectTo } from "../state/selecting";
import type { Session } from "../state/session";
import { activeLabel, isGuess, type Mask } from "../state/work";
import { toggle, turnTaking } from "./commands";
import { fill, h, icon, link, type Icon } from "./dom";

const ROW = 30; // CSS pixels of a line of the list
const SCORE =
  "Confidence score, 0 to 1. For a proposal, the probability that it is an object; for other " +
  "masks, the predicted IoU.";

/** The least score of the proposals that are shown; all that were found are at hand. */
export function leastSlider(session: Session): HTMLElement {
  const input = h("input", {
    type: "range",
    min: 0,
    max: 1,
    step: 0.01,
    "aria-label": "Minimum score of proposals",
  });
  const value = h("output", { class: "dim" });
  input.addEventListener("input", () => {
    session.least = Number(input.value);
    session.editor?.refresh();
    session.redraw();
    session.changed();
  });
  const text = h("span", {}, "Min. score");
  const element = h("label", { class: "least", title: SCORE }, text, input, value);
  session.watchers.push(() => {
    const { editor, least } = session;
    const open = editor?.state.masks.filter((mask) => mask.state === "proposed") ?? [];
    element.hidden = !open.length && !editor?.spare.length;
    const from = Math.min(1, ...open.map(scoreOf));
    const shown = least ?? Math.floor(from * 100) / 100;
    if (document.activeElement !== input) input.value = String(shown);
    value.textContent = shown.toFixed(2);
  });
  return element;
}

export function drawLayers(session: Session, element: HTMLElement): void {
  const masks = session.editor?.shown ?? [];
  const accepted = masks.filter((mask) => mask.state === "accepted").length;
  const proposals = masks.filter((mask) => mask.state === "proposed");
  const { shown, naming } = session;
  const open = naming.nameless.length;
  const unnamed = proposals.every((mask) => mask.label === null || isGuess(mask));
  const label = session.editor && unnamed ? activeLabel(session.editor.state).trim() : "";
  const signature = JSON.stringify([
    accepted,
    proposals.length,
    shown,
    session.taking,
    open,
    naming.busy,
    label,
  ]);
  const press = (name: Icon, text: string, title: string, on: boolean, onclick: () => void) => {
    const about = { class: "layer-toggle", type: "button", title, "aria-pressed": String(on) };
    return h("button", { ...about, onclick }, icon(name), text);
  };
  const layer = (name: "masks" | "proposals", text: string, key: string) =>
    press("eye", text, `Show or hide (${key})`, shown[name], () => toggle(session, name));
  const all = (state: "accepted" | "rejected") => () => {
    const open = session.editor!.shown.filter((mask) => mask.state === "proposed");
    session.editor!.judge(
      open.map((mask) => mask.key),
      state,
      label,
    );
  };
  fill(element, signature, () => [
    layer("masks", `Masks ${accepted}`, "W"),
    layer("proposals", `Proposals ${proposals.length}`, "U"),
    press("cut", "No overlap", OVERLAP, session.taking, () => turnTaking(session)),
    (proposals.length > 0 || open > 0) &&
      h(
        "div",
        { class: "all" },
        proposals.length > 0 &&
          link(label ? `Accept all as ${label}` : "Accept all", all("accepted")),
        proposals.length > 0 && link("Reject all", all("rejected")),
        naming.busy && h("span", { class: "dim" }, "Predicting classes …"),
        !naming.busy && open > 0 && link("Suggest classes", () => void naming.nameAll(), GUESSES),
      ),
  ]);
}

const OVERLAP = "Remove the area of each new mask from the masks below it (Ctrl+Shift+X)";
const GUESSES = "Predict a class for every mask without a class (Ctrl+Shift+L)";

/** Only the lines that can be seen are there, so that thousands of masks cost nothing. */
export function maskList(session: Session): HTMLElement {
  const lines = h("div", { class: "lines" });
  const list = h(
    "div",
    {
      class: "list",
      role: "listbox",
      "aria-label": "Masks",
      "aria-multiselectable": "true",
      tabindex: "0",
    },
    lines,
  );
  const draw = () => {
    const { editor } = session;
    const masks = editor?.shown ?? [];
    const shown = masks.filter((mask) => mask.state !== "rejected");
    lines.style.height = `${shown.length * ROW}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 2);
    const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 4);
    const visible = shown.slice(first, last);
    const places = new Map(masks.map((mask, i) => [mask, i]));
    const color = (m: Mask) => m.label !== null && session.labels.color(m.label);
    const signature = visible
      .map((m) => [m.key, m.label, JSON.stringify(m.notes), color(m), m.score, m.state, m.area])
      .map((parts, i) => [...parts, places.get(visible[i])].join())
      .join();
    fill(lines, `${first} ${editor?.state.selected} ${editor?.state.also} ${signature}`, () =>
      shown.length
        ? visible.map((mask, i) => line(session, mask, places.get(mask)!, (first + i) * ROW))
        : [h("p", { class: "dim small" }, editor ? "No masks yet." : "")],
    );
  };
  list.addEventListener("scroll", draw);
  session.watchers.push(() => {
    const { editor } = session;
    const key = editor?.state.selected;
    if (key && key !== list.dataset.selected) {
      const shown = editor.shown.filter((mask) => mask.state !== "rejected");
      const top = shown.findIndex((mask) => mask.key === key) * ROW;
      const hidden = top < list.scrollTop || top + ROW > list.scrollTop + list.clientHeight;
      if (hidden) list.scrollTop = top - list.clientHeight / 2;
    }
    list.dataset.selected = key ?? "";
    draw();
  });
  return list;
}

function line(session: Session, mask: Mask, place: number, top: number): HTMLElement {
  const dot = h("i", { class: mask.state === "proposed" ? "dot hollow" : "dot" });
  dot.style.setProperty("--color", css(maskColor(mask, place, session.labels.color)));
  const selected = session.editor?.selection.includes(mask) ?? false;
  const score = mask.score === null ? "manual" : scoreOf(mask).toFixed(2);
  const element = h(
    "button",
    {
      class: "line",
      type: "button",
      role: "option",
      "aria-selected": String(selected),
      tabindex: "-1",
      onclick: (event: MouseEvent) => {
        if (event.shiftKey && session.editor) return selectTo(session.editor, mask.key);
        const more = event.ctrlKey || event.metaKey;
        const alone = selected && session.editor?.selection.length === 1;
        session.editor?.select(alone && !more ? null : mask.key, more);
      },
    },
    dot,
    h("span", { class: "name" }, mask.label ?? `Mask ${place + 1}`),
    mask.state === "proposed" && h("span", { class: "badge" }, "proposed"),
    isGuess(mask) &&
      h("span", { class: "badge", title: "Predicted class, not confirmed" }, "suggested"),
    !!mask.notes?.comment && h("span", { class: "badge", title: mask.notes.comment }, "note"),
    !!mask.notes?.locked && h("span", { class: "badge" }, "locked"),
    !!mask.notes?.hidden && h("span", { class: "badge" }, "hidden"),
    h("span", { class: "dim", title: mask.score === null ? null : SCORE }, score),
  );
  element.style.top = `${top}px`;
  return element;
}
