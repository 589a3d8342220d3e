/** Simplify outline: a tolerance, what it costs, apply or cancel; a bar over the image. */

import type { Simplifying } from "../state/simplifying";
import type { Speaker } from "../state/speaker";
import { button, h } from "./dom";

const STEP = 0.5; // pixels

/** stage  gets the keys back */
export function simplifyBar(
  { simplifying, watchers }: Speaker & { simplifying: Simplifying },
  stage: HTMLElement,
): HTMLElement {
  const tolerance = h("input", { type: "range", min: 0, step: STEP });
  const shown = h("span", { class: "amount", "aria-hidden": "true" });
  const cost = h("span", { class: "cost", role: "status" });
  const done = (run: () => void) => () => {
    run();
    stage.focus();
  };
  const apply = done(() => simplifying.apply());
  const cancel = done(() => simplifying.cancel());
  tolerance.addEventListener("input", () => simplifying.to(Number(tolerance.value)));
  const element = h(
    "div",
    { class: "simplify", role: "group", "aria-label": "Simplify outline", hidden: true },
    h("label", {}, h("span", {}, "Tolerance"), tolerance, shown),
    cost,
    button("Apply", "Enter", apply, "primary"),
    button("Cancel", "Esc", cancel),
  );
  element.addEventListener("keydown", (event) => {
    const applies = event.key === "Enter" && event.target === tolerance;
    if (!applies && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    if (applies) apply();
    else cancel();
  });
  watchers.push(() => {
    simplifying.follow();
    const opens = element.hidden && simplifying.open;
    element.hidden = !simplifying.open;
    if (!simplifying.open) return;
    const { changed, before, corners } = simplifying.loss;
    tolerance.max = String(simplifying.most);
    tolerance.value = String(simplifying.tolerance);
    shown.textContent = `${simplifying.tolerance} px`;
    tolerance.setAttribute("aria-valuetext", `${simplifying.tolerance} pixels`);
    cost.textContent =
      `${percent(changed)} of pixels change, ` + `${corners} of ${before} vertices remain`;
    if (opens) tolerance.focus();
  });
  return element;
}

/** Small shares with a decimal; what is not nothing is not called nothing. */
function percent(share: number): string {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1%";
  return `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)}%`;
}
