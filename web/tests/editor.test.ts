import "fake-indexeddb/auto";

import { describe, expect, test, vi } from "vitest";

import { patchArea, patchToRle, type Patch } from "../src/masks/patch";
import type { Prompt } from "../src/model/prompts";
import { Asking } from "../src/state/asking";
import { Editor, type EditorHost } from "../src/state/editor";
import type { Session } from "../src/state/session";
import type { Message } from "../src/state/speaker";
import type { Sight } from "../src/state/encoding";
import { mended } from "../src/state/mending";
import { selectAll } from "../src/state/selecting";
import { NO_DRAFT, Work, activeLabel, type Mask } from "../src/state/work";
import { ONE_PLANE, type ImageEntry } from "../src/store/store";
import type { Conflict } from "../src/store/outbox";

const HW: [number, number] = [20, 30];

/** A model whose masks are 3 x 3 pixels at the last positive click; they come when the test lets them. */
class Slow {
  waiting: (() => void)[] = [];
  manifest = {
    name: "slow",
    weights_hash: "0",
    spec: { accepts: ["point", "negative_point", "mask"] },
  };
  refines = false;
  prompts: Prompt[] = [];

  answer(_: string, prompt: Prompt) {
    this.prompts.push(prompt);
    const [x, y] = prompt.clicks
      .flatMap((c) => (c.label ? [c.x, c.y] : []))
      .slice(-2)
      .map(Math.floor);
    const data = new Uint8Array(9).fill(1);
    const patch: Patch = { hw: HW, x, y, width: 3, height: 3, data };
    const candidates = [{ patch, score: 0.8, cells: 9 }];
    return new Promise((done) =>
      this.waiting.push(() => done({ candidates, violated: [], keep: `${x}`, closer: false })),
    );
  }

  /** All answers, those that are asked for meanwhile, too. */
  async speak(): Promise<void> {
    for (let i = 0; i < 20; i++) {
      for (const done of this.waiting.splice(0)) done();
      await new Promise((resume) => setTimeout(resume));
    }
  }
}

/** Somebody at an image without masks. */
function desk(label = "") {
  const model = new Slow();
  const said: string[] = [];
  const sent: unknown[] = [];
  const host = {
    model: () => model,
    granularity: () => "all",
    layers: () => ({
      masks: true,
      proposals: true,
      palette: () => [0, 0, 0],
      fill: 1,
      outline: 1,
      least: null,
    }),
    tool: () => "point",
    corrects: vi.fn(),
    takes: () => false,
    changed: vi.fn(),
    say: (text: string) => said.push(text),
    learn: vi.fn(),
    likelyName: () => null,
    keepDraft: vi.fn(),
    unfinished: { during: (_: unknown, __: unknown, work: () => Promise<unknown>) => work() },
    counted: vi.fn(),
    outbox: { add: async (note: unknown) => void sent.push(note) },
  };
  const work = new Work({ masks: [], draft: NO_DRAFT, label, selected: null });
  const sight: Sight = {
    planes: ONE_PLANE,
    page: 0,
    channel: null,
    key: "photo",
    request: { page: null, channel: null },
  };
  const entry = { id: "photo", name: "photo.png" } as ImageEntry;
  const editor = new Editor(entry, HW, work, sight, host as unknown as EditorHost);
  return { editor, model, said, sent, host };
}

const filled = (x: number): Patch => ({
  ...{ hw: HW, x, y: 0, width: 1, height: 1 },
  data: new Uint8Array(1).fill(1),
});

const places = ({ state }: Editor) => state.masks.map(({ box, label }) => [box[0], label]);

describe("while a mask is being kept", () => {
  test("a second Enter does not keep it twice", async () => {
    const { editor, model } = desk();
    editor.click(4, 5, 1);
    const kept = [editor.accept(), editor.accept(), editor.accept()];
    await model.speak();
    expect((await Promise.all(kept)).map((mask) => mask?.box[0])).toEqual([
      4,
      undefined,
      undefined,
    ]);
    expect(places(editor)).toEqual([[4, null]]);
    expect(editor.draft).toEqual(NO_DRAFT);
  });

  test("clicks, names and Enter are about the next object", async () => {
    const { editor, model } = desk("cat");
    editor.click(4, 5, 1);
    void editor.accept();
    editor.name("cup");
    editor.click(20, 5, 1);
    void editor.accept();
    editor.click(25, 12, 1);
    await model.speak();
    expect(places(editor)).toEqual([
      [4, "cat"],
      [20, "cup"],
    ]);
    expect(editor.draft.clicks).toEqual([{ x: 25, y: 12, label: 1 }]);
  });

  test("undo takes back that it is kept, and its clicks are there again", async () => {
    const { editor, model } = desk();
    editor.click(4, 5, 1);
    void editor.accept();
    editor.undo();
    await model.speak();
    expect(places(editor)).toEqual([]);
    expect(editor.draft.clicks).toHaveLength(1);
  });

  test("whoever leaves the photo waits for it", async () => {
    const { editor, model, sent } = desk();
    editor.click(4, 5, 1);
    void editor.accept();
    const left = editor.settled();
    await model.speak();
    await left;
    expect(sent).toContainEqual(expect.objectContaining({ kind: "save" }));
  });

  test("a mask that was changed meanwhile is fixed all the same", async () => {
    const { editor, model } = desk();
    editor.click(4, 5, 1);
    void editor.accept();
    await model.speak();
    editor.select(editor.state.masks[0].key);
    editor.edit(false);
    editor.click(20, 5, 1);
    void editor.accept();
    editor.work.remake((mask) => ({ ...mask, score: 0.1 }));
    await model.speak();
    expect(editor.state.masks.map(({ box, area }) => [box, area])).toEqual([[[4, 5, 19, 3], 18]]);
  });
});

test("clicks correct a kept mask where they point, and Escape restores it", async () => {
  const { editor, model, host } = desk();
  const block = {
    ...{ hw: HW, x: 2, y: 2, width: 6, height: 6 },
    data: new Uint8Array(36).fill(1),
  };
  const rle = patchToRle(block);
  const old = { key: "old", rle, box: [2, 2, 6, 6], area: 36, state: "accepted" };
  editor.add("masks", [{ ...old, score: 1, label: null, provenance: {} } as Mask], true);
  editor.select("old");
  editor.edit(false);
  expect(host.corrects).toHaveBeenCalled();
  const shown = async () => {
    await model.speak();
    await editor.update();
    return patchArea(editor.result.patch);
  };
  editor.click(20, 10, 1); // the answer has 9 pixels there, and nothing of the mask
  expect(await shown()).toBe(36 + 9);
  expect(model.prompts.at(-1)).toMatchObject({ mask: block });
  editor.drop();
  expect(editor.state.masks[0].rle).toBe(rle);
  editor.edit(false);
  editor.click(3, 3, 0); // the answer has 9 pixels in the middle
  expect(await shown()).toBe(9);
  void editor.accept();
  await model.speak();
  expect(editor.state.masks.map(({ key }) => key)).toEqual(["old"]);
});

test("a part that no click is in stays as it was", () => {
  const line = (pixels: number[]): Patch => ({
    hw: [1, 9],
    x: 0,
    y: 0,
    width: 9,
    height: 1,
    data: Uint8Array.from(pixels),
  });
  const [old, answer] = [line([1, 1, 0, 0, 1, 1, 0, 0, 0]), line([0, 0, 0, 1, 0, 1, 0, 1, 1])];
  const after = (x: number, label: 0 | 1) => [...mended(old, answer, [{ x, y: 0.5, label }]).data];
  expect(after(8.5, 1)).toEqual([1, 1, 0, 0, 1, 1, 0, 1, 1]);
  expect(after(0.5, 0)).toEqual([0, 0, 0, 0, 1, 1, 0, 0, 0]);
  expect(after(5.5, 1)).toEqual([1, 1, 0, 0, 1, 1, 0, 0, 0]);
});

describe("selecting", () => {
  const masks = ["cat", "cup", null].map((label, i) => ({
    ...{ key: `m${i}`, rle: patchToRle(filled(i)), box: [i, 0, 1, 1], area: 1, score: 0.9 },
    ...{ label, state: i ? "proposed" : "accepted", provenance: {} },
  })) as Mask[];

  test("shows the class of a mask, and the next object has the class that was chosen", () => {
    const { editor } = desk("dog");
    editor.add("masks", masks, true);
    editor.select("m0");
    editor.select("m1", true);
    expect([editor.state.label, activeLabel(editor.state)]).toEqual(["cat", "dog"]);
    editor.judge(["m1"], "rejected");
    expect(editor.state.label).toBe("dog");
    editor.select("m0");
    editor.click(4, 5, 1);
    expect(editor.state.label).toBe("dog");
  });

  test("of all is of the proposals where some are shown", () => {
    const { editor } = desk();
    editor.add("masks", masks, true);
    const picked = (proposals: boolean) => {
      selectAll({ editor, shown: { masks: true, proposals } } as unknown as Session);
      return editor.selection.map(({ key }) => key);
    };
    expect(picked(true)).toEqual(["m1", "m2"]);
    expect(picked(false)).toEqual(["m0"]);
  });
});

describe("masks that somebody else has changed, too", () => {
  test("are one question, and one answer is for all of them", () => {
    const answered: string[] = [];
    const messages: Message[] = [];
    const session = {
      messages,
      images: [{ id: "b", name: "b.png" }],
      editor: null,
      say: (text: string, actions: Message["actions"]) => messages.push({ text, actions }),
      dismiss: (message: Message) => messages.splice(messages.indexOf(message), 1),
      changed: vi.fn(),
      outbox: { insist: ({ note }: Conflict) => answered.push(note.key) },
    };
    const asking = new Asking(session as unknown as Session);
    const conflict = (key: string): Conflict => ({
      note: { kind: "remove", image: "b", key },
      theirs: null,
      message: "",
    });
    asking.ask(conflict("one"));
    expect(messages[0].text).toContain("deleted a mask of b.png");
    asking.ask(conflict("two"));
    asking.ask(conflict("one"));
    expect(messages.map(({ text }) => text)).toEqual([expect.stringContaining("2 masks")]);
    messages.length = 0; // closed without an answer
    asking.remind();
    const [keep] = messages[0].actions;
    keep.run();
    expect(answered.sort()).toEqual(["one", "two"]);
    messages.length = 0;
    asking.remind();
    expect(messages).toEqual([]);
  });
});
