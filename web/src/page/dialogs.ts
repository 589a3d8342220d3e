/** A dialog, and the report in one. */

import type { Session } from "../state/session";
import { h } from "./dom";
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

export async function reportDialog(session: Session): Promise<void> {
  try {
    const report = await session.store.report();
    dialog("Report", figures(report));
  } catch (error) {
    session.say(`The report could not be created. ${(error as Error).message}`);
  }
}
