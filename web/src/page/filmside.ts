/** The panel beside the video: its objects, and the frames that a person should look at. */

import type { Film } from "../state/film";
import type { FilmObject } from "../state/said";
import type { ObjectState } from "../state/tracks";
import { fill, h, iconButton } from "./dom";
import { choose } from "./filmkeys";

const LISTED = 200; // frames to look at in the list at once
const STATES: Record<ObjectState, string> = {
  visible: "visible",
  occluded: "hidden",
  lost: "lost",
  back: "back",
};
export const DOUBTS: Record<string, string> = {
  score: "unsure",
  area: "another size at once",
  jump: "another place at once",
  gone: "gone",
  back: "back",
  cut: "another shot",
};

export interface FilmSide {
  element: HTMLElement;
  focusName(): void;
}

/** known  names to choose from; back  gives the keys back to the video */
export function filmSide(film: Film, known: readonly string[], back: () => void): FilmSide {
  const list = h("div", { class: "film-objects", role: "list", "aria-label": "Objects" });
  const rows = new Map<number, HTMLElement>();
  const names = h(
    "datalist",
    { id: "film-names" },
    ...known.map((value) => h("option", { value })),
  );
  const doubtful = h("div", { class: "film-doubts" });
  const count = h("h2", {});
  const add = h("button", { class: "link", type: "button" }, "Another object (N)");
  add.addEventListener("click", () => film.addObject());
  film.watchers.push(() => {
    const here = film.objects.map((one) => {
      if (!rows.has(one.number)) rows.set(one.number, objectRow(film, one.number, back));
      return rows.get(one.number)!;
    });
    for (const number of rows.keys()) if (!film.object(number)) rows.delete(number);
    const same =
      here.length === list.children.length && here.every((r, i) => list.children[i] === r);
    if (!same) list.replaceChildren(...here);
    for (const one of film.objects) showRow(film, rows.get(one.number)!, one);
    drawDoubts(film, doubtful, count);
  });
  const unfold = iconButton("up", "More about the objects", "", () => {
    const open = element.dataset.open !== "true";
    element.dataset.open = String(open);
    unfold.setAttribute("aria-expanded", String(open));
  });
  unfold.classList.add("unfold");
  unfold.setAttribute("aria-expanded", "false");
  const head = h("div", { class: "card-head" }, h("h2", {}, "Objects"), add);
  const element = h(
    "aside",
    { class: "side", "aria-label": "Objects and frames to look at" },
    unfold,
    h("section", { class: "card object" }, head, list, names),
    h("section", { class: "card masks doubts-card" }, count, doubtful),
  );
  const focusName = () => rows.get(film.chosen)?.querySelector<HTMLElement>(".label")?.focus();
  return { element, focusName };
}

function objectRow(film: Film, number: number, back: () => void): HTMLElement {
  const pick = h("button", { class: "film-pick", type: "button" }, h("i", { class: "dot" }));
  pick.addEventListener("click", () => choose(film, number));
  const name = h("input", {
    class: "label",
    type: "text",
    list: "film-names",
    placeholder: `Object ${number}`,
    "aria-label": `Name of object ${number}`,
    maxlength: "200",
    autocomplete: "off",
    spellcheck: "false",
  });
  name.addEventListener("focus", () => choose(film, number));
  name.addEventListener("input", () => film.change(number, { name: name.value.trim() }));
  name.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    back();
  });
  const colour = h("input", { type: "color", "aria-label": `Colour of object ${number}` });
  colour.addEventListener("input", () => film.change(number, { colour: colour.value }));
  const state = h("span", { class: "badge" });
  const away = iconButton("trash", `Remove object ${number}`, "", () => {
    void film.removeObject(number);
  });
  return h("div", { class: "film-object", role: "listitem" }, pick, name, colour, state, away);
}

function showRow(film: Film, row: HTMLElement, { number, name, colour }: FilmObject): void {
  const [pick, field, picker, badge] = row.children as unknown as [
    HTMLButtonElement,
    HTMLInputElement,
    HTMLInputElement,
    HTMLElement,
  ];
  const chosen = String(film.chosen === number);
  pick.setAttribute("aria-pressed", chosen);
  pick.setAttribute("aria-label", `Clicks are about ${film.nameOf(number)}`);
  row.dataset.chosen = chosen;
  (pick.firstElementChild as HTMLElement).style.setProperty("--colour", colour);
  if (document.activeElement !== field) field.value = name;
  picker.value = colour;
  const found = film.tracks.of(number, film.frame);
  const text = found ? STATES[found.state] : "–";
  if (badge.textContent !== text) badge.textContent = text;
  badge.dataset.state = found?.state ?? "unknown";
}

function drawDoubts(film: Film, element: HTMLElement, count: HTMLElement): void {
  const all = film.tracks.doubtful();
  const said = film.said.length > 0;
  count.textContent = `Frames to look at: ${new Set(all.map(({ frame }) => frame)).size}`;
  const shown = all.slice(0, LISTED);
  const looks = JSON.stringify([shown, film.frame, film.objects, said, all.length]);
  fill(element, looks, () => [
    ...shown.map(({ frame, object, doubts }) => {
      const why = doubts.map((doubt) => DOUBTS[doubt] ?? doubt).join(", ");
      const dot = h("i", { class: "dot" });
      dot.style.setProperty("--colour", film.object(object)?.colour ?? "#fff");
      return h(
        "button",
        {
          class: "film-doubt",
          type: "button",
          "aria-current": frame === film.frame ? "true" : null,
          onclick: () => void film.seek(frame),
        },
        dot,
        h("span", {}, String(frame + 1)),
        h("span", { class: "name" }, `${film.nameOf(object)}: ${why}`),
      );
    }),
    all.length > LISTED && h("p", { class: "dim small" }, `and ${all.length - LISTED} more (J)`),
    !all.length &&
      h("p", { class: "dim small" }, said ? "None so far." : "Click an object, then follow it."),
  ]);
}
