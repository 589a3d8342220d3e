/** A dialog, and the report in one. */

import type { Session } from "../state/session";
import { form, h, select } from "./dom";
import { figures } from "./figures";

export function dialog(title: string, ...inside: (HTMLElement | string)[]): HTMLDialogElement {
  const close = h("button", { class: "button", type: "button" }, "Close");
  const element = h(
    "dialog",
    { class: "dialog", "aria-label": title },
    h("header", {}, h("h2", {}, title), close),
    ...inside,
  );
  close.addEventListener("click", () => element.close());
  const opener = document.activeElement as HTMLElement | null;
  const byKeys = !!opener?.matches(":focus-visible");
  element.addEventListener("close", () => {
    element.remove();
    const image = document.querySelector<HTMLElement>(".stage");
    (byKeys && opener?.isConnected ? opener : image)?.focus();
  });
  document.body.append(element);
  element.showModal();
  (element.querySelector<HTMLElement>("[autofocus]") ?? firstField(element))?.focus();
  return element;
}

/** The first field that a person can type into or choose from; none: the focus stays on Close. */
const firstField = (element: HTMLElement) =>
  [...element.querySelectorAll<HTMLInputElement>("input, select, textarea")].find(
    (field) => !field.disabled && field.type !== "color",
  );

/** Names, titles and descriptions of formats. */
export type Formats = readonly (readonly [name: string, title: string, about: string])[];

/** A select element for the format, with the description of the chosen one. */
export function formatChoice(id: string, formats: Formats) {
  const about = h("p", { class: "dim small" });
  const tell = () => (about.textContent = formats.find(([name]) => name === format.value)![2]);
  const format = select({ id, onchange: tell }, formats);
  tell();
  return { format, row: [h("label", { for: id }, "Format"), h("div", {}, format, about)] as const };
}

/** The form of an export: rows of a title and fields, then the button. */
export function exportForm(run: () => void, ...rows: readonly HTMLElement[]): HTMLFormElement {
  const button = h("button", { class: "button primary large", type: "submit" }, "Export");
  return form({ class: "export" }, run, ...rows, h("span", {}), button);
}

/** What a dialog says of its work. */
export const saidLine = () => h("p", { class: "said", role: "status" });

export async function reportDialog(session: Session): Promise<void> {
  try {
    const report = await session.store.report();
    dialog("Report", figures(report));
  } catch (error) {
    session.say(`The report could not be created. ${(error as Error).message}`);
  }
}
