/** The panel at the right: name, candidates, layers, the list of masks. */

import { css, maskColour } from "../canvas/colours";
import type { Patch } from "../masks/patch";
import type { Session } from "../state/session";
import { isEmpty } from "../state/work";
import type { Mask } from "../state/work";
import { toggle } from "./commands";
import { fill, h, icon } from "./dom";
import { objectCard } from "./object";

const ROW = 30; // CSS pixels of a line of the list
const THUMB = 74;

export interface Side {
  element: HTMLElement;
  label: HTMLInputElement;
}

export function side(session: Session, kept: () => void, names: () => void): Side {
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
  });
  const element = h(
    "aside",
    { class: "side", "aria-label": "Object and masks" },
    object.element,
    h("section", { class: "card" }, h("h2", {}, "Candidates"), candidates, granularity, actions),
    h("section", { class: "card masks" }, layers, list),
  );
  return { element, label: object.label };
}

function granularityChoice(session: Session): HTMLElement {
  const choices: [string, "all" | number, string][] = [
    ["Part", 0, "The smallest good candidate first"],
    ["Best", "all", "The candidate that the model puts first"],
    ["Whole", 1, "The largest good candidate first"],
  ];
  const buttons = choices.map(([text, value, title]) =>
    h(
      "button",
      {
        type: "button",
        title,
        onclick: () => {
          session.part = value;
          void session.editor?.look();
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
  const found = editor?.looks.candidates ?? [];
  const chosen = Math.min(editor?.draft.candidate ?? 0, found.length - 1);
  const looks = editor ? `${editor.thinking} ${found.length} ${chosen} ${editor.looks.keep}` : "";
  fill(element, looks, () =>
    found.length && editor
      ? found.map(({ patch, quality }, i) =>
          h(
            "button",
            {
              class: "candidate",
              type: "button",
              role: "radio",
              "aria-checked": String(i === chosen),
              "aria-label": `Candidate ${i + 1}, quality ${quality.toFixed(2)}`,
              onclick: () => editor.choose(i),
            },
            thumbnail(patch),
            h("span", {}, h("kbd", {}, `⇧${i + 1}`), quality.toFixed(2)),
          ),
        )
      : [h("p", { class: "dim small" }, hint(session))],
  );
}

function hint(session: Session): string {
  if (session.project.arm === "control") return "By hand: brush (P) and polygon (G), no model.";
  if (session.modelState === "failed") return "No model: brush (P) and polygon (G) work.";
  return "Click an object. Shift\u00a0+\u00a0click takes away.";
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
  const looks = `${making && keep} ${selected?.key} ${selected?.status} ${session.review !== null}`;
  const button = (text: string, key: string, run: () => void, kind = "") =>
    h("button", { class: `button ${kind}`, type: "button", onclick: run }, text, h("kbd", {}, key));
  fill(element, looks, () => {
    if (!editor || session.review) return [];
    if (making) {
      return [
        button(keep, "Enter", () => void editor.accept(), "primary"),
        button("Drop", "Esc", () => editor.drop()),
      ];
    }
    if (selected?.status === "proposal") {
      return [
        button("Accept", "Enter", () => editor.judge([selected.key], "accepted"), "primary"),
        button("Fix", "Q", () => editor.edit(false)),
        button("Reject", "Del", () => editor.judge([selected.key], "rejected")),
      ];
    }
    if (!selected) return [];
    return [
      button("Fix", "Q", () => editor.edit(false)),
      button("Outline", "G", () => editor.edit(true)),
      button("Delete", "Del", () => editor.remove()),
    ];
  });
}

function drawLayers(session: Session, element: HTMLElement): void {
  const masks = session.editor?.state.masks ?? [];
  const accepted = masks.filter((mask) => mask.status === "accepted").length;
  const proposals = masks.filter((mask) => mask.status === "proposal");
  const { shown } = session;
  const looks = JSON.stringify([accepted, proposals.length, shown]);
  const layer = (name: "masks" | "proposals", text: string, count: number, key: string) =>
    h(
      "button",
      {
        class: "layer-toggle",
        type: "button",
        title: `Show or hide (${key})`,
        "aria-pressed": String(shown[name]),
        onclick: () => toggle(session, name),
      },
      icon("eye"),
      `${text} ${count}`,
    );
  const all = (status: "accepted" | "rejected") => () => {
    const open = session.editor!.state.masks.filter((mask) => mask.status === "proposal");
    session.editor!.judge(
      open.map((mask) => mask.key),
      status,
    );
  };
  fill(element, looks, () => [
    layer("masks", "Masks", accepted, "W"),
    layer("proposals", "Proposals", proposals.length, "U"),
    proposals.length > 0 &&
      h(
        "div",
        { class: "all" },
        h("button", { class: "link", type: "button", onclick: all("accepted") }, "Accept all"),
        h("button", { class: "link", type: "button", onclick: all("rejected") }, "Reject all"),
      ),
  ]);
}

/** Only the lines that can be seen are there, so that thousands of masks cost nothing. */
function maskList(session: Session): HTMLElement {
  const lines = h("div", { class: "lines" });
  const list = h(
    "div",
    { class: "list", role: "listbox", "aria-label": "Masks", tabindex: "0" },
    lines,
  );
  const draw = () => {
    const { editor } = session;
    const masks = editor?.state.masks ?? [];
    const shown = masks.filter((mask) => mask.status !== "rejected");
    lines.style.height = `${shown.length * ROW}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 2);
    const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 4);
    const seen = shown.slice(first, last);
    const places = new Map(masks.map((mask, i) => [mask, i]));
    const colour = (m: Mask) => m.label !== null && session.labels.colour(m.label);
    const looks = seen
      .map((m) => [m.key, m.label, colour(m), m.quality, m.status, m.area, places.get(m)].join())
      .join();
    fill(lines, `${first} ${editor?.state.selected} ${looks}`, () =>
      shown.length
        ? seen.map((mask, i) => line(session, mask, places.get(mask)!, (first + i) * ROW))
        : [h("p", { class: "dim small" }, editor ? "No masks yet." : "")],
    );
  };
  list.addEventListener("scroll", draw);
  session.watchers.push(() => {
    const { editor } = session;
    const key = editor?.state.selected;
    if (key && key !== list.dataset.selected) {
      const shown = editor.state.masks.filter((mask) => mask.status !== "rejected");
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
  const dot = h("i", { class: mask.status === "proposal" ? "dot hollow" : "dot" });
  dot.style.setProperty("--colour", css(maskColour(mask, place, session.labels.colour)));
  const selected = session.editor?.state.selected === mask.key;
  const quality = mask.quality === null ? "by hand" : mask.quality.toFixed(2);
  const element = h(
    "button",
    {
      class: "line",
      type: "button",
      role: "option",
      "aria-selected": String(selected),
      tabindex: "-1",
      onclick: () => session.editor?.select(selected ? null : mask.key),
    },
    dot,
    h("span", { class: "name" }, mask.label ?? `Mask ${place + 1}`),
    mask.status === "proposal" && h("span", { class: "badge" }, "proposal"),
    h("span", { class: "dim" }, quality),
  );
  element.style.top = `${top}px`;
  return element;
}
