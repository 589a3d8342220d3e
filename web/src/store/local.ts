/** A project that lives in this browser: images from the user's disk, work in IndexedDB. */

import { freeColor } from "../canvas/colors";
import { OWN_FORMATS, archive } from "../export/archive";
import { IMAGE_NAME, base, readAnnotations } from "../export/reading";
import type { CocoRle, Rle } from "../masks/rle";
import { cocoToRle, rleArea, rleBox, rleIou, rleToCoco } from "../masks/rle";
import type { Features } from "../model/features";
import { Database } from "./database";
import { ONE_PLANE, StoreError } from "./store";
import type {
  ChannelRange,
  Draft,
  ExportWish,
  Happening,
  ImageEntry,
  Imported,
  LabelChange,
  LabelEntry,
  LabelFate,
  Planes,
  Project,
  ReviewItem,
  SavedRecord,
  Store,
  Verdict,
} from "./store";

export interface Kept extends SavedRecord {
  image: string;
  reviewed?: Verdict;
  before?: Kept; // what it was when it was judged
}

type StoredLabel = Omit<LabelEntry, "color"> & { colour: string };

const THUMBNAIL = 160; // pixels
const ALIKE = 0.97; // IoU from which an imported mask is one that the image has

/** What a file may call an image: with and without its folders and its ending. */
function namesOf(name: string): string[] {
  const file = base(name);
  return [name, file, file.replace(IMAGE_NAME, "")];
}

const sameClass = (one: string | null, imported: string | null) =>
  imported === null || one === imported;

const importedDraft = (rle: Rle, label: string | null, source: string): Draft => ({
  rle: rleToCoco(rle),
  box: rleBox(rle),
  area: rleArea(rle),
  score: null,
  label,
  state: "accepted",
  provenance: { by: "import", source },
});

const START: Project = {
  name: "This browser",
  labels: [],
  stage: "assisted",
  user: "me",
  counts: {},
};

export class LocalStore implements Store {
  readonly kind = "local";
  readonly formats = OWN_FORMATS;

  /** embed  what sees an image elsewhere (a server without a project), or null */
  constructor(
    private readonly db: Database,
    private readonly encode: ((bitmap: Blob) => Promise<Features>) | null = null,
  ) {}

  /** Whether images are sent to a server to be seen. */
  get sends(): boolean {
    return this.encode !== null;
  }

  async project(): Promise<Project> {
    const row = await this.db.get<{ project: Project }>("settings", "project");
    const project = { ...START, ...row?.project };
    const images = await this.db.all<ImageEntry>("images");
    return { ...project, labels: await this.labels(), counts: { images: images.length } };
  }

  async configure(change: Partial<Project>): Promise<void> {
    const { labels: _, ...before } = await this.project();
    const project = { ...before, ...change };
    await this.db.put("settings", { name: "project", project });
  }

  async images(after: string | null, limit: number) {
    const all = await this.db.all<ImageEntry & { added: number }>("images");
    all.sort((a, b) => a.added - b.added);
    const start = all.findIndex((image) => image.id === after) + 1;
    const images = all.slice(start, start + limit);
    const more = start + limit < all.length;
    return { images, next: more ? images[images.length - 1].id : null };
  }

  /** Keep images; one that cannot be read is refused by name, the others stay. */
  async scanFolder(): Promise<null> {
    return null;
  }

  async addImages(files: File[]): Promise<ImageEntry[]> {
    const added: ImageEntry[] = [];
    const unread: string[] = [];
    const before = (await this.db.all("images")).length;
    for (const file of files) {
      const size = await createImageBitmap(file).catch(() => null);
      if (!size) {
        unread.push(file.name);
        continue;
      }
      const { width, height } = size;
      size.close();
      const id = crypto.randomUUID();
      const image = { id, name: file.name, width, height, status: "new", version: 1, records: 0 };
      await this.db.put("photos", { id, blob: file });
      await this.db.put("images", { ...image, added: before + added.length });
      added.push(image);
    }
    if (unread.length) {
      const text = `This browser cannot read ${unread.join(", ")}`;
      throw new StoreError("refused", `${text}. Save such files as JPEG or PNG first.`);
    }
    return added;
  }

  /** A browser shows one plane of a file. */
  async planes(): Promise<Planes> {
    return ONE_PLANE;
  }

  async values(): Promise<ChannelRange[]> {
    return [];
  }

  async pixels(image: string): Promise<Blob> {
    const row = await this.db.get<{ blob: Blob }>("photos", image);
    if (!row)
      throw new StoreError("refused", "This image is no longer in the browser. Open it again.");
    return row.blob;
  }

  async features(image: string): Promise<Features | null> {
    return this.encode ? this.encode(await this.pixels(image)) : null;
  }

  records(image: string): Promise<Kept[]> {
    return this.db.of<Kept>("records", image);
  }

  async create(image: string, record: Draft, clientId: string): Promise<SavedRecord> {
    const kept: Kept = { ...record, id: clientId, version: 1, client_id: clientId, image };
    await this.db.change<Kept>("records", clientId, (row) => ({
      ...kept,
      version: (row?.version ?? 0) + 1,
    }));
    await this.count(image);
    return (await this.db.get<Kept>("records", clientId))!;
  }

  async update(record: SavedRecord): Promise<SavedRecord> {
    const kept = await this.db.change<Kept>("records", record.id, (row) => {
      if (!row) throw new StoreError("conflict", "This mask was deleted in another tab.");
      if (row.version !== record.version) {
        throw new StoreError("conflict", "This mask was changed in another tab.", 1, row);
      }
      const { before: _, ...rest } = row;
      return { ...rest, ...record, version: row.version + 1 };
    });
    await this.count(kept!.image);
    return kept!;
  }

  async remove(id: string, version: number): Promise<void> {
    let image = "";
    await this.db.change<Kept>("records", id, (row) => {
      if (row && row.version !== version) {
        throw new StoreError("conflict", "This mask was changed in another tab.", 1, row);
      }
      image = row?.image ?? "";
      return null;
    });
    if (image) await this.count(image);
  }

  private async count(image: string): Promise<void> {
    const records = (await this.records(image)).filter((one) => one.state !== "rejected").length;
    await this.changeImage(image, () => ({ records }));
  }

  async events(image: string, events: Happening[]): Promise<void> {
    const { user } = await this.project();
    const when = new Date().toISOString();
    for (const event of events) await this.db.put("events", { image, when, who: user, ...event });
  }

  async everything(): Promise<null> {
    return null;
  }

  async done(image: string): Promise<void> {
    await this.changeImage(image, () => ({ status: "done" }));
  }

  async reopen(image: string): Promise<void> {
    await this.changeImage(image, ({ records }) => ({ status: records ? "proposed" : "new" }));
  }

  private async changeImage(image: string, how: (row: ImageEntry) => Partial<ImageEntry>) {
    await this.db.change<ImageEntry>("images", image, (row) => {
      return row ? { ...row, ...how(row) } : null;
    });
  }

  /** The mask of the lowest score that nobody has looked at again. */
  async nextReview(): Promise<ReviewItem | null> {
    const all = await this.db.all<Kept>("records");
    const open = all.filter((record) => !record.reviewed && record.state !== "rejected");
    open.sort((a, b) => (a.score ?? 1) - (b.score ?? 1));
    const first = open[0];
    if (!first) return null;
    const why = first.score === null ? "drawn manually" : `score ${first.score.toFixed(2)}`;
    return { image: first.image, record: first.id, why };
  }

  async verdict(record: string, verdict: Verdict, seconds: number, rle?: CocoRle) {
    const kept = await this.db.change<Kept>("records", record, (row) => {
      if (!row) throw new StoreError("refused", "This mask was deleted in the meantime.");
      const state = verdict === "reject" ? "rejected" : "accepted";
      const fixed = rle ? cocoToRle(rle) : null;
      const shape = fixed ? { rle: rle!, box: rleBox(fixed), area: rleArea(fixed) } : {};
      const { before: _, ...before } = row;
      const version = row.version + 1;
      return { ...row, ...shape, state, reviewed: verdict, version, before };
    });
    const event = { kind: "verdict", tool: "review", seconds, record, detail: { verdict } };
    await this.events(kept!.image, [event]);
    return kept!;
  }

  async removeVerdict(record: string): Promise<SavedRecord> {
    const kept = await this.db.change<Kept>("records", record, (row) => {
      if (!row?.before) throw new StoreError("refused", "This mask has no review decision.");
      return { ...row.before, version: row.version + 1 };
    });
    await this.events(kept!.image, [{ kind: "verdict taken back", tool: "review", seconds: 0 }]);
    return kept!;
  }

  async thumbnail(image: string): Promise<Blob> {
    const bitmap = await createImageBitmap(await this.pixels(image));
    const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
    const canvas = new OffscreenCanvas(
      Math.max(1, Math.round(bitmap.width * scale)),
      Math.max(1, Math.round(bitmap.height * scale)),
    );
    canvas.getContext("2d")!.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 });
  }

  async report(): Promise<Record<string, unknown>> {
    const events = await this.db.all<Happening & { image: string }>("events");
    const records = await this.db.all<Kept>("records");
    const made = events.filter((event) => event.kind === "accept");
    const seconds = made.reduce((sum, event) => sum + event.seconds, 0);
    const classes: Record<string, number> = {};
    for (const record of records) {
      if (record.state !== "accepted") continue;
      const label = record.label ?? "no class";
      classes[label] = (classes[label] ?? 0) + 1;
    }
    const reviewed = records.filter((record) => record.reviewed);
    const good = reviewed.filter((record) => record.reviewed === "accept");
    return {
      images: (await this.db.all("images")).length,
      masks: records.filter((record) => record.state === "accepted").length,
      "seconds per mask": made.length ? seconds / made.length : null,
      "masks per hour": seconds ? (3600 * made.length) / seconds : null,
      reviewed: reviewed.length,
      "accepted unchanged": reviewed.length ? good.length / reviewed.length : null,
      classes,
    };
  }

  /** Masks of COCO and YOLO files; the images of a ZIP are added where they are missing. */
  async import(file: File): Promise<Imported> {
    const { masks, annotated } = await readAnnotations(file);
    const names = new Set((await this.db.all<ImageEntry>("images")).map(({ name }) => name));
    await this.addImages(annotated.filter(({ name }) => !names.has(name)));
    const { images } = await this.images(null, Infinity);
    const known = new Map(images.flatMap((one) => namesOf(one.name).map((name) => [name, one])));
    const done: Imported = { new: 0, same: 0, strange: 0, unread: [] };
    const strange = new Set<string>();
    const here = new Map<string, { rle: Rle; label: string | null }[]>();
    for (const { image: name, label, shape } of masks) {
      const image = namesOf(name)
        .map((one) => known.get(one))
        .find(Boolean);
      if (!image) {
        strange.add(name);
        continue;
      }
      if (!here.has(image.id)) {
        const records = await this.records(image.id);
        const kept = records.filter(({ state }) => state === "accepted");
        const read = kept.map((one) => ({ rle: cocoToRle(one.rle), label: one.label }));
        here.set(image.id, read);
      }
      const rle = shape([image.height, image.width]);
      if (rle.size.join() !== `${image.height},${image.width}` || !rleArea(rle)) {
        done.unread.push(`${name}: a mask is empty or differs in size from the image`);
        continue;
      }
      const existing = here.get(image.id)!;
      const alike = existing.some(
        (one) => rleIou(one.rle, rle) >= ALIKE && sameClass(one.label, label),
      );
      if (alike) done.same++;
      else {
        existing.push({ rle, label });
        await this.create(image.id, importedDraft(rle, label, file.name), crypto.randomUUID());
        done.new++;
      }
    }
    return { ...done, strange: strange.size };
  }

  async export(wish: ExportWish) {
    const { images } = await this.images(null, Infinity);
    const records = await this.db.all<Kept>("records");
    const names = (await this.labels()).map((one) => one.name);
    return archive({ images, records, names, pixels: (id) => this.pixels(id) }, wish);
  }

  // ------------------------------------------------------------------------------------ the names

  async labels(): Promise<LabelEntry[]> {
    const row = await this.db.get<{ labels: StoredLabel[] }>("settings", "labels");
    const known = (row?.labels ?? []).map(({ colour, ...one }) => ({ ...one, color: colour }));
    const counts = new Map<string, number>();
    for (const { label, state } of await this.db.all<Kept>("records")) {
      if (label !== null && state !== "rejected") counts.set(label, (counts.get(label) ?? 0) + 1);
    }
    for (const name of counts.keys()) {
      if (known.some((one) => one.name === name)) continue;
      known.push({ name, color: freeColor(known.map((one) => one.color)), masks: 0 });
    }
    return known.map((one) => ({ ...one, masks: counts.get(one.name) ?? 0 }));
  }

  private async keepLabels(labels: LabelEntry[]): Promise<LabelEntry[]> {
    const rows = labels.map(({ color, ...one }): StoredLabel => ({ ...one, colour: color }));
    await this.db.keep("settings", { name: "labels", labels: rows });
    return this.labels();
  }

  async addLabel(name: string, color: string): Promise<LabelEntry[]> {
    const known = await this.labels();
    if (known.some((one) => one.name === name)) return known;
    return this.keepLabels([...known, { name, color, masks: 0 }]);
  }

  async changeLabel(name: string, { to, color, place }: LabelChange): Promise<LabelEntry[]> {
    let known = await this.labels();
    const one = known.find((other) => other.name === name);
    if (!one) throw new StoreError("refused", `The project has no class ${name}.`);
    if (color !== undefined) one.color = color;
    if (place !== undefined) {
      known = known.filter((other) => other !== one);
      known.splice(place, 0, one);
    }
    if (to !== undefined && to !== name) {
      const existing = known.some((other) => other.name === to);
      if (existing) known = known.filter((other) => other !== one);
      one.name = to;
      await this.relabel(name, (row) => ({ ...row, label: to, version: row.version + 1 }));
    }
    return this.keepLabels(known);
  }

  async deleteLabel(name: string, masks: LabelFate): Promise<LabelEntry[]> {
    const known = (await this.labels()).filter((one) => one.name !== name);
    const images = await this.relabel(name, (row) =>
      masks === "delete" ? null : { ...row, label: null, version: row.version + 1 },
    );
    for (const image of images) await this.count(image);
    return this.keepLabels(known);
  }

  private async relabel(name: string, change: (row: Kept) => Kept | null): Promise<Set<string>> {
    const rows = (await this.db.all<Kept>("records")).filter((row) => row.label === name);
    for (const { id } of rows) {
      await this.db.change<Kept>("records", id, (row) => (row ? change(row) : null));
    }
    return new Set(rows.map((row) => row.image));
  }
}
