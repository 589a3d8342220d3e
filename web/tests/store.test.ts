import "fake-indexeddb/auto";

import { beforeEach, describe, expect, test, vi } from "vitest";

import { crc32, grayPng } from "../src/export/png";
import { archive, splitNames } from "../src/export/archive";
import { cocoFile, joined, labelPngs, sa1bFiles, yoloFiles } from "../src/export/files";
import { fillRings } from "../src/masks/outline";
import { patchArea } from "../src/masks/patch";
import { zipOf } from "../src/export/zip";
import { hadProposals, resume, rowOf } from "../src/state/proposing";
import { Work, NO_DRAFT, difference, type Mask } from "../src/state/work";
import { Database } from "../src/store/database";
import { LocalStore } from "../src/store/local";
import { Server, ServerStore } from "../src/store/server";
import { Outbox, type Conflict, type Standing } from "../src/store/outbox";
import { StoreError } from "../src/store/store";
import type { Draft, SavedRecord, Saving, Store } from "../src/store/store";

vi.stubGlobal("addEventListener", () => undefined);

let count = 0;
let db: Database;
beforeEach(async () => {
  db = await Database.open(`test-${++count}`);
});

const image = { id: "i", name: "a.jpg", width: 3, height: 2, status: "", version: 1, records: 1 };

function draft(label: string): Draft {
  return {
    rle: { size: [2, 3], counts: "123" },
    box: [0, 1, 2, 1],
    area: 2,
    score: 0.5,
    label,
    state: "accepted",
    provenance: { by: "human" },
  };
}

/** localStorage as Node has none; `room` is how many characters fit. */
class Shelf implements Storage {
  private readonly items = new Map<string, string>();
  constructor(public room = Infinity) {}

  get length(): number {
    return this.items.size;
  }
  key(index: number): string | null {
    return [...this.items.keys()][index] ?? null;
  }
  getItem(key: string): string | null {
    return this.items.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    if (value.length > this.room) throw new DOMException("full", "QuotaExceededError");
    this.items.set(key, value);
  }
  removeItem(key: string): void {
    this.items.delete(key);
  }
  clear(): void {
    this.items.clear();
  }
}

/** A database whose disk never answers, as one that is still busy when the page goes. */
async function stuckDatabase(name: string, shelf: Shelf): Promise<Database> {
  const stuck = await Database.open(name, shelf);
  stuck.put = stuck.delete = () => new Promise(() => undefined);
  return stuck;
}

/** A store that keeps what it is sent, and fails as it is told. */
class Pretended {
  failures: StoreError[] = [];
  sent: string[] = [];
  records = new Map<string, SavedRecord>();

  private said(what: string): void {
    const failure = this.failures.shift();
    if (failure) throw failure;
    this.sent.push(what);
  }
  async create(_: string, record: Draft, clientId: string): Promise<SavedRecord> {
    this.said(`create ${record.label}`);
    const saved = { ...record, id: `r-${clientId}`, version: 1 };
    this.records.set(saved.id, saved);
    return saved;
  }
  async update(record: SavedRecord): Promise<SavedRecord> {
    this.said(`update ${record.label} ${record.version}`);
    return { ...record, version: record.version + 1 };
  }
  async remove(id: string, version: number): Promise<void> {
    this.said(`remove ${id} ${version}`);
  }
  async events(): Promise<void> {
    this.said("events");
  }
  async verdict(record: string, verdict: string): Promise<void> {
    this.said(`verdict ${record} ${verdict}`);
  }
}

/** One that keeps several masks at once, but those that it is told to refuse. */
class Several extends Pretended {
  whole: StoreError | null = null;
  refused = new Map<string, StoreError>();

  async saveAll(_: string, given: Saving[]) {
    this.sent.push(`all ${given.map(({ record }) => record.label).join(" ")}`);
    if (this.whole) throw this.whole;
    return given.map(({ record, key, name }) => {
      const error = this.refused.get(key);
      return error ?? { ...record, id: name?.id ?? `r-${key}`, version: (name?.version ?? 0) + 1 };
    });
  }
}

function outboxOf(store: Pretended) {
  const standings: Standing[] = [];
  const conflicts: Conflict[] = [];
  const refusals: string[] = [];
  const outbox = new Outbox(
    store as unknown as Store,
    db,
    (standing) => standings.push(standing),
    (conflict) => conflicts.push(conflict),
    (message) => refusals.push(message),
  );
  return { outbox, standings, conflicts, refusals };
}

const save = (key: string, label: string) =>
  ({ kind: "save", image: "i", key, record: draft(label) }) as const;

test("writes that wait for the disk go there together, and are read as they were", async () => {
  const opened = vi.spyOn(IDBDatabase.prototype, "transaction");
  const row = { name: "first", value: 1 };
  const written = [db.put("settings", row)];
  for (let i = 0; i < 50; i++) written.push(db.put("settings", { name: `n${i}`, value: i }));
  row.value = 2; // later than it was written
  written.push(db.delete("settings", "n7"));
  expect(await db.get("settings", "n49")).toEqual({ name: "n49", value: 49 });
  await Promise.all(written);
  expect(opened).toHaveBeenCalledTimes(3); // the first, all others, the one that reads
  opened.mockRestore();
  expect(await db.get("settings", "first")).toEqual({ name: "first", value: 1 });
  expect(await db.get("settings", "n7")).toBeUndefined();
  const bad = db.put("settings", { value: 1 }); // without its key
  const good = db.put("settings", { name: "good" });
  await expect(bad).rejects.toThrow();
  await good;
});

describe("the outbox", () => {
  /** Masks that were made while the server was away: they wait together. */
  async function waiting(store: Several) {
    const made = outboxOf(store);
    store.failures = [new StoreError("lost", "gone")];
    await made.outbox.add({ kind: "events", image: "i", events: [] });
    await made.outbox.flush();
    const kept = ["a", "b", "c"].map((key) => made.outbox.add(save(key, key.toUpperCase())));
    await Promise.all(kept);
    await made.outbox.flush();
    return made;
  }

  test("masks of a photo that wait are kept by one request, and changed by another", async () => {
    const store = new Several();
    const { outbox, standings } = await waiting(store);
    expect(store.sent).toEqual(["events", "all A B C"]);
    expect(standings.at(-1)).toEqual({ waiting: 0, lost: null, conflicts: 0 });
    expect(await db.all("outbox")).toEqual([]);
    await outbox.add({ kind: "remove", image: "i", key: "b" });
    await outbox.flush();
    expect(store.sent.at(-1)).toBe("remove r-b 1");
  });

  test("of several masks each is refused for itself", async () => {
    const store = new Several();
    store.refused.set("a", new StoreError("refused", "no such photo"));
    store.refused.set("b", new StoreError("conflict", "bob was quicker", 1, null));
    const { conflicts, refusals, standings } = await waiting(store);
    expect(refusals).toEqual(["no such photo"]);
    expect(conflicts.map(({ note }) => note.key)).toEqual(["b"]);
    expect(standings.at(-1)).toEqual({ waiting: 0, lost: null, conflicts: 1 });
  });

  test("where several are refused as one they go one by one", async () => {
    const store = new Several();
    store.whole = new StoreError("refused", "what is that?");
    const { refusals } = await waiting(store);
    expect(store.sent).toEqual(["events", "all A B C", "create A", "create B", "create C"]);
    expect(refusals).toEqual([]);
  });

  test("creates once, then updates on top of the version it got", async () => {
    const store = new Pretended();
    const { outbox } = outboxOf(store);
    await outbox.add(save("k", "cat"));
    await outbox.flush();
    await outbox.add(save("k", "dog"));
    await outbox.flush();
    await outbox.add({ kind: "remove", image: "i", key: "k" });
    await outbox.flush();
    expect(store.sent).toEqual(["create cat", "update dog 1", "remove r-k 2"]);
  });

  test("a lost server loses nothing: another page sends what waits", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const store = new Pretended();
    const lost = () => new StoreError("lost", "the server does not answer");
    store.failures = [lost(), lost()];
    const first = outboxOf(store);
    await first.outbox.add(save("k", "cat"));
    await first.outbox.flush();
    expect(first.standings.at(-1)).toEqual({
      waiting: 1,
      lost: "the server does not answer",
      conflicts: 0,
    });
    vi.useRealTimers();

    store.failures = [];
    const second = outboxOf(store);
    await second.outbox.open();
    expect(second.outbox.waitingFor("i").length).toBe(1);
    await second.outbox.flush();
    expect(store.sent).toEqual(["create cat"]);
    expect(second.standings.at(-1)).toEqual({ waiting: 0, lost: null, conflicts: 0 });
    const third = outboxOf(store);
    await third.outbox.open();
    expect(third.outbox.waitingFor("i")).toEqual([]);
    expect(third.outbox.idOf("k")).toBe("r-k");
  });

  test("while a server is lost only the newest state of a mask waits", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const store = new Pretended();
    store.failures = [new StoreError("busy", "full", 3)];
    const { outbox } = outboxOf(store);
    await outbox.add(save("k", "one"));
    await outbox.flush();
    await outbox.add(save("k", "two"));
    await outbox.add(save("k", "three"));
    await outbox.flush();
    vi.useRealTimers();
    expect(store.sent.at(-1)).toMatch(/three/);
    expect(store.sent).not.toContain("create one");
  });

  test("somebody else's change is asked about; mine goes on top of theirs", async () => {
    const store = new Pretended();
    const { outbox, conflicts } = outboxOf(store);
    await outbox.add(save("k", "cat"));
    await outbox.flush();
    const theirs = { ...draft("lion"), id: "r-k", version: 7 };
    store.failures = [new StoreError("conflict", "changed", 1, theirs)];
    await outbox.add(save("k", "dog"));
    await outbox.flush();
    expect(conflicts[0].theirs?.label).toBe("lion");
    await outbox.insist(conflicts[0]);
    await outbox.flush();
    expect(store.sent).toEqual(["create cat", "update dog 7"]);
  });

  test("a question that nobody answered is asked again by the next page", async () => {
    const store = new Pretended();
    const changed = () => new StoreError("conflict", "changed", 1, theirs);
    const theirs = { ...draft("lion"), id: "r-k", version: 7 };
    const first = outboxOf(store);
    await first.outbox.add(save("k", "cat"));
    await first.outbox.flush();
    store.failures = [changed()];
    await first.outbox.add(save("k", "dog"));
    await first.outbox.flush();
    expect(first.standings.at(-1)).toEqual({ waiting: 0, lost: null, conflicts: 1 });
    expect(first.outbox.waitingFor("i")).toMatchObject([{ record: { label: "dog" } }]);

    first.outbox.learnAll([theirs]); // reading the image anew agrees to nothing
    store.failures = [changed()];
    await first.outbox.add(save("k", "owl"));
    await first.outbox.flush();
    expect(first.conflicts).toHaveLength(2);
    await first.outbox.insist(first.conflicts[0]); // of a state that there is no more
    await first.outbox.flush();
    expect(store.sent).toEqual(["create cat"]);

    const second = outboxOf(store);
    store.failures = [changed()];
    await second.outbox.open();
    await second.outbox.flush();
    expect(second.conflicts).toMatchObject([{ note: { record: { label: "owl" } } }]);
    await second.outbox.letGo(second.conflicts[0]);
    expect(second.standings.at(-1)).toEqual({ waiting: 0, lost: null, conflicts: 0 });
    const third = outboxOf(store);
    await third.outbox.open();
    await third.outbox.flush();
    expect(third.conflicts).toEqual([]);
    expect(store.sent).toEqual(["create cat"]);
  });

  test("after a crash without a server, what was read from it is changed and removed", async () => {
    const store = new Pretended();
    const lost = () => new StoreError("lost", "the server does not answer");
    const first = outboxOf(store);
    const records = ["r-1", "r-2"].map((id) => ({ ...draft("cat"), id, version: 4 }));
    const [one, two] = first.outbox.learnAll(records);
    store.failures = [lost(), lost()];
    await first.outbox.add(save(one, "dog"));
    await first.outbox.add({ kind: "remove", image: "i", key: two });
    await first.outbox.flush();

    const second = outboxOf(store);
    store.failures = [];
    await second.outbox.open();
    await second.outbox.flush();
    expect(store.sent).toEqual(["update dog 4", "remove r-2 4"]);
  });

  test("what another tab has sent already is no conflict", async () => {
    const store = new Pretended();
    const { outbox, conflicts, refusals } = outboxOf(store);
    await outbox.add(save("k", "cat"));
    await outbox.flush();
    const same = { ...draft("dog"), id: "r-k", version: 2 };
    store.failures = [new StoreError("conflict", "changed", 1, same)];
    await outbox.add(save("k", "dog"));
    await outbox.flush();
    await outbox.add(save("k", "cow"));
    await outbox.flush();
    store.failures = [new StoreError("conflict", "deleted", 1, null)];
    await outbox.add({ kind: "remove", image: "i", key: "k" });
    await outbox.flush();
    expect([conflicts, refusals]).toEqual([[], []]);
    expect(store.sent).toEqual(["create cat", "update cow 2"]);
  });

  test("what the store refuses is said and not sent again", async () => {
    const store = new Pretended();
    store.failures = [new StoreError("refused", "too large")];
    const { outbox, refusals, standings } = outboxOf(store);
    await outbox.add(save("k", "cat"));
    await outbox.add({ kind: "events", image: "i", events: [] });
    await outbox.flush();
    expect(refusals).toEqual(["too large"]);
    expect(store.sent).toEqual(["events"]);
    expect(standings.at(-1)?.waiting).toBe(0);
  });
});

describe("a page that goes before the disk has answered", () => {
  test("leaves its rows to the next page", async () => {
    const shelf = new Shelf();
    const first = await stuckDatabase("going-1", shelf);
    void first.keep("settings", { name: "draft:i", label: "older" });
    void first.keep("settings", { name: "draft:i", label: "newer" });
    const next = await Database.open("going-1", shelf);
    expect(await next.get("settings", "draft:i")).toEqual({ name: "draft:i", label: "newer" });
    expect(shelf.length).toBe(0);
  });

  test("leaves what it took away gone", async () => {
    const shelf = new Shelf();
    await (await Database.open("going-2", shelf)).keep("settings", { name: "draft:i" });
    expect(shelf.length).toBe(0);
    void (await stuckDatabase("going-2", shelf)).forget("settings", "draft:i");
    const next = await Database.open("going-2", shelf);
    expect(await next.get("settings", "draft:i")).toBeUndefined();
  });

  test("leaves another database alone", async () => {
    const shelf = new Shelf();
    void (await stuckDatabase("going-3", shelf)).keep("settings", { name: "draft:i" });
    const other = await Database.open("going-33", shelf);
    expect(await other.get("settings", "draft:i")).toBeUndefined();
    expect(shelf.length).toBe(1);
  });

  test("leaves no older row where the newer one did not fit", async () => {
    const shelf = new Shelf();
    const first = await stuckDatabase("going-4", shelf);
    void first.keep("settings", { name: "draft:i", label: "older" });
    shelf.room = 0;
    void first.keep("settings", { name: "draft:i", label: "newer" });
    expect(shelf.length).toBe(0);
  });

  test("leaves a mask to be sent once, in its order", async () => {
    const shelf = new Shelf();
    db = await stuckDatabase("going-5", shelf);
    const going = outboxOf(new Pretended()).outbox;
    void going.add(save("a", "cat"));
    void going.add(save("b", "cow"));
    void going.add(save("a", "dog"));
    db = await Database.open("going-5", shelf);
    const store = new Pretended();
    const { outbox } = outboxOf(store);
    await outbox.open();
    await outbox.flush();
    expect(store.sent).toEqual(["create cow", "create dog"]);
    expect(shelf.length).toBe(0);
  });
});

describe("a project in the browser", () => {
  const entry = { ...image, status: "new", records: 0, added: 0 };

  test("two tabs do not overwrite each other", async () => {
    const store = new LocalStore(db);
    await db.put("images", entry);
    const made = await store.create("i", draft("cat"), "k");
    await store.update({ ...made, label: "dog" });
    const late = store.update({ ...made, label: "cow" });
    await expect(late).rejects.toMatchObject({ kind: "conflict" });
    expect((await store.records("i")).map((record) => record.label)).toEqual(["dog"]);
    expect((await store.images(null, 10)).images[0].records).toBe(1);
  });

  test("review asks for the lowest score first, each mask once", async () => {
    const store = new LocalStore(db);
    await db.put("images", entry);
    await store.create("i", { ...draft("sure"), score: 0.9 }, "a");
    await store.create("i", { ...draft("unsure"), score: 0.2 }, "b");
    const first = await store.nextReview();
    expect(first).toEqual({ image: "i", record: "b", why: "score 0.20" });
    await store.verdict("b", "reject", 2);
    expect((await store.nextReview())?.record).toBe("a");
    await store.verdict("a", "fix", 2, { size: [2, 3], counts: "6" });
    expect(await store.nextReview()).toBeNull();
    const kept = await store.records("i");
    expect(kept.find((record) => record.id === "a")).toMatchObject({ area: 0, reviewed: "fix" });
  });

  test("a photo that is done is open again, with its masks", async () => {
    const store = new LocalStore(db);
    await db.put("images", entry);
    const status = async () => (await store.images(null, 10)).images[0].status;
    await store.done("i");
    expect(await status()).toBe("done");
    await store.reopen("i");
    expect(await status()).toBe("new");
    await store.create("i", draft("cat"), "k");
    await store.done("i");
    await store.reopen("i");
    expect([await status(), (await store.records("i")).length]).toEqual(["proposed", 1]);
  });

  test("an export without accepted masks says so", async () => {
    await expect(new LocalStore(db).export(wish)).rejects.toThrow(
      "none of the 0 images is marked as done",
    );
  });

  test("names keep their colors, are renamed with their masks, and merge", async () => {
    const store = new LocalStore(db);
    await db.put("images", entry);
    await store.addLabel("cat", "#112233");
    await store.create("i", draft("dog"), "a"); // a mask's name is in the set at once
    await store.create("i", draft("cat"), "b");
    const names = async () => (await store.labels()).map(({ name, masks }) => [name, masks]);
    expect(await names()).toEqual([
      ["cat", 1],
      ["dog", 1],
    ]);
    await store.changeLabel("dog", { place: 0, to: "cow" });
    expect(await names()).toEqual([
      ["cow", 1],
      ["cat", 1],
    ]);
    await store.changeLabel("cow", { to: "cat" });
    expect(await names()).toEqual([["cat", 2]]);
    expect((await store.labels())[0].color).toBe("#112233");
    expect((await store.records("i")).map((record) => record.version)).toEqual([3, 1]);
    await store.deleteLabel("cat", "unname");
    expect((await store.records("i")).map((record) => record.label)).toEqual([null, null]);
    await store.create("i", draft("owl"), "c");
    await store.deleteLabel("owl", "delete");
    expect((await store.records("i")).length).toBe(2);
    expect((await store.images(null, 10)).images[0].records).toBe(2);
  });
});

const wish = {
  format: "yolo",
  only: "done" as const,
  images: true,
  split: null as string | null,
  tolerance: 0,
  proposals: false,
  unlabeled: "object" as const,
  force: false,
};

describe("files", () => {
  const record = { ...draft("cat"), id: "r", version: 1, image: "i" };

  const part = (images = [image]) => ({
    images,
    records: [record],
    classes: ["dog", "cat"],
    tolerance: 0,
  });

  test("COCO; the classes have the project's order", async () => {
    const { name, blob } = cocoFile(part(), "annotations.json");
    expect(name).toBe("annotations.json");
    expect(JSON.parse(await blob.text())).toEqual({
      images: [{ id: 1, file_name: "a.jpg", width: 3, height: 2 }],
      annotations: [
        {
          id: 1,
          image_id: 1,
          category_id: 2,
          segmentation: { size: [2, 3], counts: "123" },
          area: 2,
          bbox: [0, 1, 2, 1],
          iscrowd: 0,
          score: 0.5,
        },
      ],
      categories: [
        { id: 1, name: "dog" },
        { id: 2, name: "cat" },
      ],
    });
  });

  test("SA-1B's boxes are last minus first pixel; people's masks have no score", async () => {
    const told = async (change: Partial<SavedRecord>) => {
      const [{ blob }] = sa1bFiles({ ...part(), records: [{ ...record, ...change }] });
      return JSON.parse(await blob.text()).annotations[0];
    };
    const provenance = { points: [[1, 1], [2, 2]], labels: [1, 0] }; // prettier-ignore
    expect(await told({ provenance })).toMatchObject({
      bbox: [0, 1, 1, 0],
      point_coords: [[1, 1]],
      predicted_iou: 0.5,
    });
    expect(await told({ score: null })).not.toHaveProperty("predicted_iou");
  });

  test("YOLO's one ring holds every part and no hole", async () => {
    const rings = [
      [[0, 0], [6, 0], [6, 6], [0, 6]], // prettier-ignore
      [[2, 2], [2, 4], [4, 4], [4, 2]], // prettier-ignore
      [[8, 1], [9, 1], [9, 3], [8, 3]], // prettier-ignore
    ] as [number, number][][];
    const one = fillRings([joined(rings)], [8, 10]);
    expect(patchArea(one)).toBe(36 - 4 + 2);
    expect([...one.data]).toEqual([...fillRings(rings, [8, 10]).data]);
    const [{ name, blob }] = yoloFiles(part());
    expect(name).toBe("a.txt");
    expect(await blob.text()).toMatch(/^1( (0|1|0?\.\d+)){6,}\n$/);
  });

  test("several photos come as one archive with names of their own", async () => {
    const entries = await labelPngs(part([image, { ...image, id: "j" }]));
    expect(entries.map(({ name }) => name)).toEqual(["a.png", "a-2.png"]);
  });

  test("a set that can be trained on: finished photos, their splits, data.yaml", async () => {
    const images = Array.from({ length: 12 }, (_, i) => ({
      ...image,
      id: `i${i}`,
      name: `${i}.jpg`,
      status: i < 10 ? "done" : "new",
    }));
    const records = images.map(({ id }) => ({ ...record, image: id }));
    const pixels = async (id: string) => new Blob([id]);
    const work = { images, records, names: ["dog"], pixels };
    const { name, blob, message } = await archive(work, { ...wish, split: "60/20/20" });
    expect([name, message]).toEqual(["yolo.zip", "10 images, 10 masks"]);
    const bare = await archive(work, { ...wish, images: false });
    expect(bare.message).toMatch(/^10 images, 10 masks\ndata.yaml expects .* 'Include the images'/);
    const text = new TextDecoder("latin1").decode(await blob.arrayBuffer());
    const splits = splitNames(
      images.slice(0, 10).map((one) => one.name),
      "60/20/20",
    );
    expect(new Set(splits.values())).toEqual(new Set(["train", "val", "test"]));
    for (const [file, split] of splits) {
      expect(text).toContain(`images/${split}/${file}`);
      expect(text).toContain(`labels/${split}/${file.replace("jpg", "txt")}`);
    }
    expect(text).not.toContain("11.jpg");
    expect(text).toContain("train: images/train\nval: images/val\ntest: images/test\nnames:\n");
    expect(text).toContain('  0: "dog"\n  1: "cat"\n');
    const all = splitNames(Array.from({ length: 2000 }, (_, i) => `${i}.jpg`), "80/10/10"); // prettier-ignore
    const counts = ["train", "val", "test"].map(
      (split) => [...all.values()].filter((one) => one === split).length,
    );
    expect(Math.abs(counts[0] - 1600)).toBeLessThan(80);
    expect(Math.abs(counts[1] - 200)).toBeLessThan(60);
    expect(() => splitNames(["a"], "0/0/0")).toThrow("shares");
  });

  test("a table is one file, or one for each split", async () => {
    const images = ["a", "b", "c"].map((id) => ({
      ...image,
      id,
      name: `${id}.jpg`,
      status: "done",
    }));
    const records = images.map(({ id }) => ({ ...record, image: id }));
    const work = { images, records, names: [], pixels: async () => new Blob() };
    const table = { ...wish, format: "csv", images: false };
    const { name, blob } = await archive(work, { ...table, split: null });
    expect(name).toBe("masks.csv");
    const rows = (await blob.text()).trimEnd().split("\n");
    expect(rows.map((row) => row.split(",")[0])).toEqual(["image", "a.jpg", "b.jpg", "c.jpg"]);
    const split = await archive(work, { ...table, split: "34/33/33" });
    const text = new TextDecoder("latin1").decode(await split.blob.arrayBuffer());
    for (const one of ["train", "val", "test"]) expect(text).toContain(`${one}/masks.csv`);
  });

  test("checksums are the well-known ones", () => {
    expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
  });

  test("a picture says its size, an archive its end", async () => {
    const png = new DataView(
      await (await grayPng(Uint16Array.of(0, 1, 2, 300, 4, 5), 2, 3)).arrayBuffer(),
    );
    expect([png.getUint32(16), png.getUint32(20), png.getUint8(24)]).toEqual([3, 2, 16]);
    const zip = await zipOf([{ name: "a", blob: new Blob(["x"]) }]);
    const bytes = new DataView(await zip.arrayBuffer());
    expect(bytes.getUint32(bytes.byteLength - 22, true)).toBe(0x06054b50);
  });
});

describe("undo and redo", () => {
  const mask = (key: string) => ({ key }) as Mask;
  const start = { masks: [], draft: NO_DRAFT, label: "", selected: null };

  test("bring back every step, and a new step ends what was undone", () => {
    const work = new Work(start);
    work.act("a", { masks: [mask("a")] });
    work.act("b", { masks: [mask("a"), mask("b")] });
    expect(work.undo()).toBe("b");
    expect(work.undo()).toBe("a");
    expect(work.undo()).toBeNull();
    expect(work.state).toBe(start);
    expect(work.redo()).toBe("a");
    work.act("c", { label: "c" });
    expect(work.redo()).toBeNull();
    expect(work.state.masks.length).toBe(1);
  });

  test("pass what another person did meanwhile", () => {
    const [mine, old, named, gone, fresh] = ["mine", "old", "old", "gone", "fresh"].map(mask);
    const work = new Work({ ...start, masks: [old, gone], selected: "gone" });
    work.act("mask", { masks: [old, gone, mine] });
    const { draft } = work.state;
    work.meet([named, fresh], new Set(["gone"]));
    expect(work.state).toMatchObject({ masks: [named, mine, fresh], selected: null });
    expect(work.state.draft).toBe(draft); // the mask in the making is not disturbed
    const before = work.state.masks;
    expect(work.undo()).toBe("mask");
    expect(difference(before, work.state.masks)).toEqual({ saved: [], removed: [mine] });
    work.redo();
    work.meet([{ ...mine, label: "theirs" }], new Set());
    work.undo();
    expect(work.state.masks).toEqual([named, fresh]); // not there before it was made
  });

  test("what differs between two states is what is sent", () => {
    const [a, b, c] = ["a", "b", "c"].map(mask);
    const changed = { ...b, label: "new" };
    expect(difference([a, b], [changed, c])).toEqual({ saved: [changed, c], removed: [a] });
  });

  test("steps of proposals are undone after a reload, but for what was changed", async () => {
    const { outbox } = outboxOf(new Pretended());
    const keys = (masks: readonly Mask[]) => masks.map(({ key }) => key).join("");
    const mask = (key: string, state: string) => ({ key, state, label: null }) as Mask;
    const steps = [
      { what: "everything", keys: ["a", "b", "gone"] },
      { what: "find", keys: ["c", "d"] },
      { what: "find", keys: ["gone too"] },
    ];
    await db.keep("settings", { name: rowOf("proposed", "photo", 2), steps });
    outbox.learn("d", { id: "7", version: 2 } as SavedRecord);
    const masks = [mask("c", "proposed"), mask("x", "proposed"), mask("b", "accepted")];
    masks.push(mask("d", "proposed"), mask("a", "proposed"));
    const state = { masks, draft: NO_DRAFT, label: "", selected: null };
    const work = await resume(db, outbox, "photo", 2, state);
    expect(keys(work.state.masks)).toBe("cxbda");
    expect([work.undo(), keys(work.state.masks)]).toEqual(["find", "xbda"]);
    expect([work.undo(), keys(work.state.masks)]).toEqual(["everything", "xbd"]);
    expect(work.undo()).toBeNull();
    expect(hadProposals(work)).toBe(true);
    expect(hadProposals(await resume(db, outbox, "photo", 0, state))).toBe(false);
  });
});

describe("the server", () => {
  test("is waited for as long as a model or an export takes, and not for ever elsewhere", async () => {
    const limits = new Map<string, boolean>();
    vi.stubGlobal("fetch", async (url: URL, init: RequestInit) => {
      limits.set(url.pathname, init.signal instanceof AbortSignal);
      return new Response(JSON.stringify({ records: [], images: [], next: null }));
    });
    const store = new ServerStore(new Server("http://127.0.0.1/", ""));
    await store.everything("a");
    await store.pixels("a");
    await store.export(wish);
    await store.images(null, 1);
    await store.done("a");
    await store.reopen("a");
    vi.unstubAllGlobals();
    expect(Object.fromEntries(limits)).toEqual({
      "/api/images/a/everything": false,
      "/api/images/a/pixels": false,
      "/api/export": false,
      "/api/images": true,
      "/api/images/a/done": true,
    });
  });

  test("tells how far everything is, until it is there", async () => {
    vi.useFakeTimers();
    let answer = (_: Response) => {};
    const told: number[][] = [];
    const steps = [{ done: 0, total: 0 }, null, { done: 5, total: 20 }];
    const progress = vi.fn(async () => {
      const far = steps.shift();
      return new Response(JSON.stringify(far ?? { error: {} }), { status: far ? 200 : 503 });
    });
    vi.stubGlobal("fetch", (url: URL) =>
      url.pathname === "/api/images/a/progress"
        ? progress()
        : new Promise<Response>((done) => (answer = done)),
    );
    const store = new ServerStore(new Server("http://127.0.0.1/", ""));
    const found = store.everything("a", undefined, (done, all) => told.push([done, all]));
    await vi.advanceTimersByTimeAsync(3500);
    expect(told).toEqual([
      [0, 0],
      [5, 20],
    ]);
    answer(new Response(JSON.stringify({ records: [], others: [] })));
    expect(await found).toEqual({ records: [], others: [] });
    await vi.advanceTimersByTimeAsync(5000);
    expect(progress).toHaveBeenCalledTimes(3);
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  test("the message of an error is shown as it is, and a missing token is told apart", async () => {
    const error = (message: string, status: number) => async () =>
      new Response(JSON.stringify({ error: { message, status } }), { status });
    const store = new ServerStore(new Server("http://127.0.0.1/", ""));
    vi.stubGlobal("fetch", error("x.jpg is missing.", 404));
    await expect(store.pixels("a")).rejects.toThrow(/^x.jpg is missing.$/);
    vi.stubGlobal("fetch", error("Access token required.", 401));
    await expect(store.pixels("a")).rejects.toMatchObject({ kind: "token" });
    vi.unstubAllGlobals();
  });
});
