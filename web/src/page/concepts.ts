/** The bar that asks whether all objects of a phrase have masks. */

import { answerConcept, closeConcepts, conceptOf, masksOf } from "../state/concepts";
import type { Session } from "../state/session";
import { button, fill, h } from "./dom";

export function conceptBar(session: Session): HTMLElement {
  const element = h("div", { class: "review", role: "group", "aria-label": "Phrase review" });
  const answer = (all: boolean) => () => void answerConcept(session, all);
  session.watchers.push(() => {
    const concept = conceptOf(session);
    element.hidden = !concept;
    if (!concept) return;
    const { phrase } = concept;
    const count = masksOf(session, phrase).length;
    fill(element, JSON.stringify([concept, count]), () => {
      const question = count
        ? `${count} ${count === 1 ? "mask" : "masks"}. Does every “${phrase}” have a mask?`
        : `no mask. Is “${phrase}” absent from this image?`;
      return [
        h("span", { class: "why", role: "status" }, h("strong", {}, phrase), ` · ${question}`),
        button(count ? "All have a mask" : "Absent", "A", answer(true), "good"),
        button(count ? "Some are missing" : "Present", "R", answer(false), "bad"),
        button("Close", "", () => closeConcepts(session)),
      ];
    });
  });
  return element;
}
