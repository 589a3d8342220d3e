/** The dialog that finds by word or like the picked masks, in this image or in all. */

import { ALONE, findHere, followSearch, likePicked } from "../state/finding";
import { searchAll, searchOf, searchText } from "../state/finding";
import type { Session } from "../state/session";
import type { SearchBody } from "../store/schema";
import { dialog, saidLine } from "./dialogs";
import { fill, form, h } from "./dom";

const LIKE = "Leave the field empty to find objects similar to the selected mask.";
const SIMILAR = "Find objects similar to the selected mask";
const LOWER = 0.05; // minimum score of a second search; the default is 0.16

export function findDialog(session: Session): void {
  if (!session.store.find) return session.say(ALONE);
  const field = h("input", {
    class: "label",
    type: "text",
    list: "known-words",
    placeholder: "cat, cup",
    "aria-label": "Text prompt",
    autocomplete: "off",
    autofocus: true,
  });
  const known = h("datalist", { id: "known-words" });
  const about = h("p", { class: "dim small" }, LIKE);
  const said = saidLine();
  const state = h("div", { class: "name-add" });
  const more = h("div", { class: "name-add" });
  const ask = async (work: (question: SearchBody) => Promise<string | void>) => {
    said.textContent = "Searching …";
    more.replaceChildren();
    try {
      const words = field.value.trim();
      said.textContent = (await work(words ? { words } : await likePicked(session))) ?? "";
    } catch (error) {
      said.textContent = (error as Error).message;
      more.replaceChildren(button(SIMILAR, "", () => void ask(similar)));
    }
  };
  const here = async (question: SearchBody) => {
    const none = await findHere(session, question);
    if (!none || !question.words) return element.close();
    more.replaceChildren(
      ...(question.score == null ? [button("Search with a lower score", "", lower)] : []),
      button(SIMILAR, "", () => void ask(similar)),
    );
    return none;
  };
  const lower = () => void ask((question) => here({ ...question, score: LOWER }));
  const similar = async () => here(await likePicked(session));
  const all = (question: SearchBody | null) => searchAll(session, question);
  const button = (text: string, kind: string, run: () => void) =>
    h("button", { class: `button ${kind}`, type: kind ? "submit" : "button", onclick: run }, text);
  const questions = form(
    { class: "name-add" },
    () => void ask(here),
    field,
    button("In this image", "primary", () => undefined),
    button("In all images", "", () => void ask(all)),
  );
  const draw = () =>
    fill(state, JSON.stringify(searchOf(session)), () => {
      const search = searchOf(session);
      if (!search || search.state === "none") return [];
      const { done = 0, total = 0, question } = search;
      const go = search.state === "running" ? null : (question ?? null);
      const over = search.state === "done";
      return [
        h("progress", { max: total || 1, value: done, "aria-label": "Images searched" }),
        h("span", { class: "dim" }, searchText(session)),
        !over && button(go ? "Resume" : "Stop", "", () => void all(go)),
      ];
    });
  const element = dialog("Find by text or by example", questions, known, about, said, more, state);
  session.watchers.push(draw);
  element.addEventListener("close", () =>
    session.watchers.splice(session.watchers.indexOf(draw), 1),
  );
  draw();
  void followSearch(session);
  void session.store.words?.().then(({ names, detector }) => {
    known.replaceChildren(...names.map((name) => h("option", { value: name })));
    const words = detector
      ? `Detector: ${detector}. Any words are supported`
      : `${names.length} known words`;
    about.textContent = `${words}. ${LIKE}`;
  });
}
