import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { patchToRle } from "../src/masks/patch";
import { shownMasks } from "../src/state/everything";
import { Naming } from "../src/state/naming";
import type { Session } from "../src/state/session";
import { NO_DRAFT, forNext, isGuess, labelFields, type Mask, type State } from "../src/state/work";
import type { NameWish, Named, Namer } from "../src/store/namer";
import { StoreError } from "../src/store/store";

const HW: [number, number] = [10, 12];

function patch(x: number) {
  return { hw: HW, x, y: 2, width: 3, height: 3, data: new Uint8Array(9).fill(1) };
}

/** A mask at a place; what it is called. */
function mask(key: string, x: number, more: Partial<Mask> = {}): Mask {
  const rle = patchToRle(patch(x));
  const about = { score: 0.9, label: null, state: "accepted" as const, provenance: {} };
  return { key, rle, box: [x, 2, 3, 3], area: 9, ...about, ...more };
}

/** A namer whose answers come when the test lets them. */
class Slow {
  asked: { wish: NameWish; signal: AbortSignal; answer: (named: Named) => void }[] = [];

  ask = (wish: NameWish, signal: AbortSignal) =>
    new Promise<Named>((answer) => this.asked.push({ wish, signal, answer }));
}

const named = (label: string, probability = 0.9): Named => ({
  suggestions: [[{ label, probability }]],
  among: false,
});

/** What naming sees of a session: an image with an object in the making. */
function table(namer: Namer) {
  const session = {
    labels: { all: [] as { name: string }[] },
    store: { features: vi.fn(async () => null) },
    model: () => ({ names: true, imageHashOf: async () => "hash" }),
    changed: vi.fn(),
    said: [] as string[],
    say: (text: string) => session.said.push(text),
    learn: vi.fn(),
    editor: image("a"),
  };
  return { session, naming: new Naming(session as unknown as Session, namer) };
}

function image(key: string) {
  const editor = {
    encoded: true,
    startedAt: 1,
    entry: { id: key },
    sight: { key, request: {} },
    draft: { ...NO_DRAFT, clicks: [{ x: 1, y: 1, label: 1 as const }] },
    result: { patch: patch(1) },
    state: { label: "", masks: [] as Mask[] },
    selection: [] as Mask[],
    spare: [] as Mask[],
    least: null as number | null,
    get shown(): readonly Mask[] {
      return shownMasks(editor.state.masks, editor.spare, editor.least);
    },
    act: vi.fn((_: string, change: Partial<State>) => Object.assign(editor.state, change)),
  };
  return editor;
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("names of the object in the making", () => {
  test("are asked for when it has been the same for a moment, once", async () => {
    const slow = new Slow();
    const { naming } = table(slow as unknown as Namer);
    naming.follow();
    await vi.advanceTimersByTimeAsync(100);
    naming.follow();
    expect(slow.asked).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(1000);
    naming.follow();
    expect(slow.asked).toHaveLength(1);
    expect(slow.asked[0].wish).toMatchObject({ image: "hash", names: [], top: 3 });
    slow.asked[0].answer(named("cup"));
    await vi.advanceTimersByTimeAsync(0);
    expect(naming.shown).toEqual([{ label: "cup", probability: 0.9 }]);
  });

  test("the newest shape wins, whatever comes first", async () => {
    const slow = new Slow();
    const { session, naming } = table(slow as unknown as Namer);
    naming.follow();
    await vi.advanceTimersByTimeAsync(1000);
    session.editor.result = { patch: patch(5) };
    naming.follow();
    expect(slow.asked[0].signal.aborted).toBe(true);
    await vi.advanceTimersByTimeAsync(1000);
    slow.asked[1].answer(named("new"));
    slow.asked[0].answer(named("old"));
    await vi.advanceTimersByTimeAsync(0);
    expect(naming.shown[0].label).toBe("new");
  });

  test("another photo cancels what is under way and empties the line", async () => {
    const slow = new Slow();
    const { session, naming } = table(slow as unknown as Namer);
    naming.follow();
    await vi.advanceTimersByTimeAsync(1000);
    slow.asked[0].answer(named("cup"));
    await vi.advanceTimersByTimeAsync(0);
    session.editor = image("b");
    session.editor.draft = NO_DRAFT as typeof session.editor.draft;
    naming.follow();
    expect(naming.shown).toEqual([]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(slow.asked).toHaveLength(1);
  });

  test("an object that a person has named is not asked about", async () => {
    const slow = new Slow();
    const { session, naming } = table(slow as unknown as Namer);
    session.editor.state.label = "lamp";
    naming.follow();
    await vi.advanceTimersByTimeAsync(1000);
    expect(slow.asked).toHaveLength(0);
  });

  test("a refusal has the photo seen again, once; another failure shows nothing", async () => {
    const refused = new StoreError("refused", "the hash of an image");
    const ask = vi.fn().mockRejectedValueOnce(refused).mockResolvedValueOnce(named("cup"));
    const { session, naming } = table({ ask } as unknown as Namer);
    naming.follow();
    await vi.advanceTimersByTimeAsync(1000);
    expect(session.store.features).toHaveBeenCalledTimes(1);
    expect(naming.shown[0].label).toBe("cup");
    ask.mockRejectedValueOnce(new StoreError("lost", "no answer"));
    session.editor.result = { patch: patch(5) };
    naming.follow();
    await vi.advanceTimersByTimeAsync(1000);
    expect(ask).toHaveBeenCalledTimes(3);
    expect(session.said).toEqual([]);
  });
});

describe("names of all masks", () => {
  test("come in parts, and only for masks that are nameless still", async () => {
    const ask = vi.fn(async ({ masks }: NameWish) => ({
      suggestions: masks.map(() => named("cup").suggestions[0]),
      among: false,
    }));
    const { session, naming } = table({ ask } as unknown as Namer);
    const masks = [...Array(130).keys()].map((i) => mask(`m${i}`, i % 9));
    session.editor.state.masks = [...masks, mask("rejected", 0, { state: "rejected" })];
    const done = naming.nameAll();
    session.editor.state.masks = session.editor.state.masks.map((one) =>
      one.key === "m0" ? { ...one, label: "lamp" } : one,
    );
    await done;
    expect(ask.mock.calls.map(([wish]) => wish.masks.length)).toEqual([64, 64, 2]);
    expect(session.editor.act).toHaveBeenCalledTimes(1);
    const now = session.editor.state.masks;
    expect(now[0].label).toBe("lamp");
    expect(now.slice(1, 130).every((one) => one.label === "cup" && isGuess(one))).toBe(true);
    expect(now[130].label).toBeNull();
  });

  test("are for those that the slider shows, too, and no others beside the kept ones", async () => {
    const ask = vi.fn(async ({ masks }: NameWish) => ({
      suggestions: masks.map(() => named("cup").suggestions[0]),
      among: false,
    }));
    const { session, naming } = table({ ask } as unknown as Namer);
    const { editor } = session;
    const proposal = (key: string, score: number) => mask(key, 1, { score, state: "proposed" });
    editor.state.masks = [proposal("kept", 0.4)];
    editor.spare = [proposal("shown", 0.8), proposal("not shown", 0.3)];
    expect(naming.nameless.map(({ key }) => key)).toEqual(["kept"]);
    editor.least = 0.5;
    await naming.nameAll();
    expect(editor.state.masks.map(({ key, label }) => [key, label])).toEqual([
      ["kept", "cup"],
      ["shown", "cup"],
    ]);
  });

  test("follow the slider, which goes by how likely a proposal is an object", () => {
    const judged = (key: string, score: number, objectness: number) =>
      mask(key, 1, { score, state: "proposed", notes: { objectness } });
    const kept = [judged("likely", 0.4, 0.7), judged("unlikely", 0.9, 0.2)];
    const aside = [judged("aside", 0.3, 0.6), mask("unjudged", 1, { score: 0.5 })];
    const shown = (least: number | null) => shownMasks(kept, aside, least).map(({ key }) => key);
    expect(shown(null)).toEqual(["likely", "unlikely"]);
    expect(shown(0.5)).toEqual(["likely", "aside", "unjudged"]);
    expect(shown(0.65)).toEqual(["likely"]);
  });

  test("are dropped when another photo was opened meanwhile", async () => {
    const slow = new Slow();
    const { session, naming } = table(slow as unknown as Namer);
    const before = session.editor;
    before.state.masks = [mask("m", 1)];
    const done = naming.nameAll();
    await vi.advanceTimersByTimeAsync(0);
    session.editor = image("b");
    slow.asked[0].answer(named("cup"));
    await done;
    expect(before.act).not.toHaveBeenCalled();
    expect(naming.busy).toBe(false);
  });
});

describe("a label", () => {
  test("that a person says is no guess any more", () => {
    const guess = mask("m", 1, { label: "cup", notes: { label_probability: 0.7, locked: true } });
    expect(isGuess(guess)).toBe(true);
    const said = { ...guess, ...labelFields(guess, " cup ") };
    expect([said.label, said.notes]).toEqual(["cup", { locked: true }]);
    expect(isGuess(said)).toBe(false);
    expect(labelFields(guess, " ").label).toBeNull();
  });

  test("of one object alone does not go along to the next one", () => {
    const state: State = { masks: [], draft: NO_DRAFT, label: "cup", selected: null };
    expect(forNext(state)).toEqual({ label: "cup", next: undefined });
    expect(forNext({ ...state, next: "" })).toEqual({ label: "", next: undefined });
  });
});
