/** The review of phrases: which answer is stored, and which masks are filled. */

import { beforeEach, expect, test } from "vitest";

import { answerConcept, conceptOf, nextConcept, reviewedMasks } from "../src/state/concepts";
import type { Session } from "../src/state/session";
import { NO_DRAFT } from "../src/state/work";
import type { ConceptAnswerBody, ConceptBody } from "../src/store/schema";

let queue: ConceptBody[] = [];
let answers: ConceptAnswerBody[] = [];
let said: string[] = [];

function sessionOf(labels: string[], image = "1", stored = true): Session {
  const masks = labels.map((label, i) => ({ key: `k${i}`, label, state: "accepted" }));
  const state = { masks, selected: null };
  const editor = {
    entry: { id: image },
    state,
    draft: NO_DRAFT,
    select: () => undefined,
    refresh: () => undefined,
    settled: async () => undefined,
  };
  const store = {
    nextConcept: async () => queue[0] ?? null,
    answerConcept: async (answer: ConceptAnswerBody) => {
      answers.push(answer);
      queue.shift();
    },
  };
  return {
    editor,
    store: stored ? store : {},
    review: null,
    outbox: { flush: async () => undefined },
    open: async (id: string) => void (editor.entry.id = id),
    say: (text: string) => void said.push(text),
    moveOn: () => undefined,
    changed: () => undefined,
  } as unknown as Session;
}

const ask = (phrase: string, image = "1"): ConceptBody => ({
  image,
  phrase,
  masks: 0,
  answer: null,
});

beforeEach(() => {
  [queue, answers, said] = [[], [], []];
});

test("the masks of the image decide between complete and absent", async () => {
  const session = sessionOf(["cup", "cat", "cup"]);
  queue = [ask("cup"), ask("bowl"), ask("cat", "2")];
  await nextConcept(session);
  expect(conceptOf(session)?.phrase).toBe("cup");
  expect([...reviewedMasks(session)!]).toEqual(["k0", "k2"]);
  await answerConcept(session, true);
  expect(reviewedMasks(session)!.size).toBe(0);
  await answerConcept(session, true);
  expect(session.editor!.entry.id).toBe("2");
  await answerConcept(session, false);
  const told = answers.map(({ image, phrase, answer }) => [image, phrase, answer]);
  expect(told).toEqual([
    ["1", "cup", "complete"],
    ["1", "bowl", "absent"],
    ["2", "cat", "incomplete"],
  ]);
  expect(conceptOf(session)).toBeNull();
  expect(reviewedMasks(session)).toBeNull();
  expect(said[0]).toContain("All phrases are reviewed");
});

test("a second answer before the first one is stored is not counted", async () => {
  const session = sessionOf(["cup"]);
  queue = [ask("cup"), ask("bowl")];
  await nextConcept(session);
  await Promise.all([answerConcept(session, true), answerConcept(session, false)]);
  expect(answers.map(({ answer }) => answer)).toEqual(["complete"]);
});

test("an answer that the server refuses can be given again", async () => {
  const session = sessionOf(["cup"]);
  queue = [ask("cup")];
  await nextConcept(session);
  const { answerConcept: store } = session.store;
  session.store.answerConcept = () => Promise.reject(new Error("Refused."));
  await answerConcept(session, true);
  expect(said).toEqual(["The answer was not saved. Refused."]);
  session.store.answerConcept = store;
  await answerConcept(session, true);
  expect(answers.length).toBe(1);
});

test("phrases of another image are not asked about, and no project has none", async () => {
  const session = sessionOf(["cup"]);
  queue = [ask("cup")];
  await nextConcept(session);
  (session.editor as unknown as { entry: { id: string } }).entry.id = "7";
  expect(conceptOf(session)).toBeNull();
  await nextConcept(sessionOf([], "1", false));
  expect(said[0]).toContain("requires a project on a server");
});
