/** The bar that asks whether all objects of a phrase have masks. */

import { answerConcept, closeConcepts, conceptOf, masksOf } from "../state/concepts";
import type { Session } from "../state/session";
import { fill, h } from "./dom";

export function conceptBar(session: Session): HTMLElement {
  const element = h("div", { class: "review", role: "group", "aria-label": "Phrase review" });
  session.watchers.push(() => {
    const concept = conceptOf(session);
    element.hidden = !concept;
    if (!concept) return;
    const { phrase } = concept;
    const count = masksOf(session, phrase).length;
    fill(element, JSON.stringify([concept, count]), () => {
      const button = (text: string, key: string, kind: string, run: () => void) =>
        h(
          "button",
          { class: `button ${kind}`, type: "button", onclick: run },
          text,
          key && h("kbd", {}, key),
        );
      const question = count
        ? `${count} ${count === 1 ? "mask" : "masks"}. Does every “${phrase}” have a mask?`
        : `no mask. Is “${phrase}” absent from this image?`;
      return [
        h("span", { class: "why", role: "status" }, h("strong", {}, phrase), ` · ${question}`),
        button(count ? "All have a mask" : "Absent", "A", "good", () => {
          void answerConcept(session, true);
        }),
        button(count ? "Some are missing" : "Present", "R", "bad", () => {
          void answerConcept(session, false);
        }),
        button("Close", "", "", () => closeConcepts(session)),
      ];
    });
  });
  return element;
}
