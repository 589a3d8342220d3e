/** The dialog of the names: colors, order, renaming, merging, and what becomes of masks. */

import type { Session } from "../state/session";
import { deleteLabel, renameLabel } from "../state/relabeling";
import type { LabelEntry } from "../store/store";
import { dialog, saidLine } from "./dialogs";
import { checkbox, fill, form, h, iconButton, link } from "./dom";

const KEEPS = "anymask-digit-keeps"; // of this browser

/** Whether a digit that names the object in the making also keeps it. */
export const digitKeeps = () => localStorage.getItem(KEEPS) === "yes";

export function namesDialog(session: Session): void {
  const list = h("div", { class: "names", role: "list" });
  const said = saidLine();
  const field = h("input", {
    class: "label",
    type: "text",
    placeholder: "New class",
    autofocus: true,
  });
  field.setAttribute("aria-label", "New class");
  const draw = () => {
    if (typing(list)) return list.addEventListener("focusout", draw, { once: true });
    const all = session.labels.all;
    const refocus = focusIn(list);
    fill(list, JSON.stringify(all), () => all.map((one, i) => row(open, one, i)));
    refocus();
  };
  const work = async (doing: Promise<void>) => {
    said.textContent = "";
    try {
      await doing;
    } catch (error) {
      said.textContent = (error as Error).message;
      list.dataset.signature = ""; // what failed is taken back in the fields, too
    }
    draw();
  };
  const learn = () => {
    const name = field.value.trim();
    field.value = "";
    if (name) void work(session.labels.learn(name));
  };
  const submit = h("button", { class: "button", type: "submit" }, "Add");
  const open = { session, work, said };
  const add = form({ class: "name-add" }, learn, field, submit);
  const { input: keeps, element: option } = checkbox(
    { checked: digitKeeps() },
    "Digit keys set the class and also keep the mask",
  );
  keeps.addEventListener("change", () => localStorage.setItem(KEEPS, keeps.checked ? "yes" : "no"));
  dialog("Classes", list, add, option, said);
  draw();
  void work(session.labels.refresh());
}

/** Whether somebody is in the middle of a name, which a list drawn anew would throw away. */
function typing(list: HTMLElement): boolean {
  const field = document.activeElement;
  if (!(field instanceof HTMLInputElement) || !list.contains(field)) return false;
  return field.type === "text" && field.value !== field.defaultValue;
}

/** Remember the focused control of a list, to focus it again after the list is rendered. */
function focusIn(list: HTMLElement): () => void {
  const held = document.activeElement;
  const label = held && list.contains(held) ? held.getAttribute("aria-label") : null;
  const whole = held instanceof HTMLInputElement && held.selectionEnd === held.value.length;
  const selected = whole && held.selectionStart === 0;
  return () => {
    if (!label || list.contains(document.activeElement)) return;
    const next = [...list.querySelectorAll<HTMLElement>("[aria-label]")];
    const same = next.find((one) => one.getAttribute("aria-label") === label);
    same?.focus();
    if (selected && same instanceof HTMLInputElement) same.select();
  };
}

/** What the lines of the dialog share. */
interface Open {
  session: Session;
  work: (doing: Promise<void>) => Promise<void>;
  said: HTMLElement;
}

function row(open: Open, one: LabelEntry, place: number): HTMLElement {
  const { session, work } = open;
  const { name, color, masks } = one;
  const picker = h("input", { type: "color", value: color, "aria-label": `Color of ${name}` });
  picker.addEventListener("change", () => {
    void work(session.labels.change(name, { color: picker.value }));
  });
  const field = h("input", { class: "label", type: "text", value: name });
  field.setAttribute("aria-label", `Class ${place + 1}`);
  field.addEventListener("change", () => rename(open, one, field));
  const move = (to: number) => () => void work(session.labels.change(name, { place: to }));
  const up = iconButton("up", `Move ${name} up`, "", move(place - 1));
  const down = iconButton("down", `Move ${name} down`, "", move(place + 1));
  up.disabled = place === 0;
  down.disabled = place === session.labels.all.length - 1;
  const away = iconButton("trash", `Delete ${name}`, "", () => remove(open, one));
  return h(
    "div",
    { class: "name-row", role: "listitem" },
    h("kbd", {}, place < 9 ? String(place + 1) : "–"),
    picker,
    field,
    h("span", { class: "dim count" }, masks === 1 ? "1 mask" : `${masks} masks`),
    up,
    down,
    away,
  );
}

/** Another name; one that is there already is asked about, as two names become one. */
function rename(open: Open, { name, masks }: LabelEntry, field: HTMLInputElement): void {
  const { session, work, said } = open;
  const to = field.value.trim();
  if (!to || to === name) {
    field.value = name;
    return;
  }
  field.defaultValue = field.value; // it is no longer being typed
  const go = () => void work(renameLabel(session, name, to));
  if (!session.labels.all.some((other) => other.name === to)) return go();
  const text = `Class ${to} already exists. Merge the ${masks} masks of ${name} into it?`;
  const back = () => (field.value = field.defaultValue = name);
  ask(said, text, [
    ["Merge", go],
    ["Cancel", back],
  ]);
}

function remove({ session, work, said }: Open, { name, masks }: LabelEntry) {
  const go = (fate: "unname" | "delete") => () => void work(deleteLabel(session, name, fate));
  if (!masks) return go("unname")();
  ask(said, `${masks} masks have the class ${name}.`, [
    ["Remove the class from the masks", go("unname")],
    ["Delete the masks", go("delete")],
    ["Cancel", () => undefined],
  ]);
}

function ask(said: HTMLElement, text: string, answers: [string, () => void][]): void {
  const buttons = answers.map(([title, run]) => {
    return link(title, () => {
      said.textContent = "";
      run();
    });
  });
  said.replaceChildren(text, ...buttons.flatMap((button) => [" ", button]));
  buttons[0].focus();
}
