/** The project on a server (its routes are listed in docs/reference/http-api.md). */

import { readFeatures } from "../model/features";
import type { Progress } from "../model/messages";
import type { CocoRle } from "../masks/rle";
import type {
  ConceptAnswerBody,
  ConceptBody,
  Failure,
  ImagesBody,
  KnownNamesBody,
  ProgressBody,
} from "./schema";
import type { SearchBody, SearchState } from "./schema";
import { AS_IT_COMES, SILENT, StoreError } from "./store";
import type {
  Changes,
  ChannelRange,
  Draft,
  Everything,
  ExportWish,
  Finds,
  FolderNews,
  Happening,
  Imported,
  ImageEntry,
  LabelChange,
  LabelEntry,
  LabelFate,
  Plane,
  Planes,
  Project,
  ReviewItem,
  SavedRecord,
  Saving,
  Store,
  Verdict,
} from "./store";

const TOKEN = "anymask-token";
const LOOK_MS = 1000; // between two looks at how far long work is
const SILENTLY = () => {}; // a look that failed is no trouble: the next one comes
const PATIENCE_MS = 60_000; // for what a server does at once; long work is waited for

/** The token of the address (`?token=`), kept for this tab and taken out of the address. */
export function takeToken(): string {
  const url = new URL(location.href);
  const given = url.searchParams.get("token");
  if (given !== null) {
    sessionStorage.setItem(TOKEN, given);
    url.searchParams.delete("token");
    history.replaceState(null, "", url);
  }
  return sessionStorage.getItem(TOKEN) ?? "";
}

/** Keep another token for this tab. */
export const keepToken = (token: string) => sessionStorage.setItem(TOKEN, token);

/** Whether this tab has a token. */
export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;

export class Server {
  constructor(
    private readonly root: string,
    private readonly token: string,
  ) {}

  /**
   * Ask for `path`; every failure becomes a StoreError that says what to do.
   *
   * @param long whether it is work of any length (a model's, an export's), which has no time limit
   */
  async ask(path: string, init: RequestInit = {}, long = false): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.token) headers.set("Authorization", `Bearer ${this.token}`);
    let response: Response;
    try {
      const signal = long ? null : AbortSignal.timeout(PATIENCE_MS);
      response = await fetch(new URL(path, this.root), { signal, ...init, headers });
    } catch {
      throw new StoreError("lost", SILENT);
    }
    if (response.ok) return response;
    throw await failure(response);
  }

  async json<T>(
    path: string,
    method = "GET",
    body?: unknown,
    version?: number,
    long = false,
  ): Promise<T> {
    const headers: Record<string, string> = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (version !== undefined) headers["If-Match"] = String(version);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await this.ask(path, { method, headers, body: text }, long);
    return (response.status === 204 ? null : await response.json()) as T;
  }

  /** The same of work that takes its time. */
  work<T>(path: string, method = "GET", body?: unknown): Promise<T> {
    return this.json(path, method, body, undefined, true);
  }

  /** A file that the server makes as it is wished; `otherwise`: its name, if it has none. */
  async file(path: string, wish: unknown, otherwise: string, signal: AbortSignal | null = null) {
    const headers = { "Content-Type": "application/json" };
    const init = { method: "POST", headers, body: JSON.stringify(wish), signal };
    const response = await this.ask(path, init, true);
    const given = response.headers.get("Content-Disposition") ?? "";
    const name = /filename="?([^";]+)/.exec(given)?.[1] ?? otherwise;
    return { name, blob: await response.blob(), headers: response.headers };
  }
}

interface Trouble {
  error?: Partial<Failure>;
  current?: SavedRecord;
}

async function failure(response: Response): Promise<StoreError> {
  const body = (await response.json().catch(() => ({}))) as Trouble;
  const wait = Number(response.headers.get("Retry-After")) || 1;
  return troubleOf(response.status, body.error ?? {}, wait, body.current ?? null);
}

/** What an error of the server means to the page. */
function troubleOf(
  status: number,
  { message }: Partial<Failure>,
  wait: number,
  current: SavedRecord | null,
): StoreError {
  const text = message || `The server returned status ${status}.`;
  if (status === 401) return new StoreError("token", text);
  if (status === 428) return new StoreError("unlabeled", text);
  if (status === 409) return new StoreError("conflict", text, wait, current);
  if (status === 429) return new StoreError("busy", text, wait);
  if (status >= 500) return new StoreError("lost", text, wait);
  return new StoreError("refused", text);
}

function queryOf({ page, channel }: Plane): string {
  const alone = channel !== null && `channel=${channel}`;
  const bands = typeof channel === "string" ? channel : alone;
  const parts = [page !== null && `page=${page}`, bands];
  const query = parts.filter(Boolean).join("&");
  return query && `?${query}`;
}

export class ServerStore implements Store {
  readonly kind = "server";
  readonly formats = null;
  readonly sends = true;

  constructor(private readonly server: Server) {}

  project(): Promise<Project> {
    return this.server.json("api/project");
  }

  async configure(change: Partial<Project>): Promise<void> {
    await this.server.json("api/project", "PUT", change);
  }

  images(after: string | null, limit: number) {
    const query = `limit=${limit}${after === null ? "" : `&after=${encodeURIComponent(after)}`}`;
    return this.server.json<ImagesBody>(`api/images?${query}`);
  }

  async import(file: File): Promise<Imported> {
    const path = `api/import?name=${encodeURIComponent(file.name)}`;
    const response = await this.server.ask(path, { method: "POST", body: file }, true);
    return (await response.json()) as Imported;
  }

  async addImages(): Promise<ImageEntry[]> {
    throw new StoreError(
      "refused",
      "This project reads its images from a folder on the server. Add images there.",
    );
  }

  scanFolder(): Promise<FolderNews> {
    return this.server.work("api/folder", "POST", {});
  }

  planes(image: string): Promise<Planes> {
    return this.server.json(`api/images/${image}/planes`);
  }

  async values(image: string, page: number) {
    const path = `api/images/${image}/values?page=${page}`;
    return (await this.server.json<{ channels: ChannelRange[] }>(path)).channels;
  }

  async pixels(image: string, plane = AS_IT_COMES): Promise<Blob> {
    const path = `api/images/${image}/pixels${queryOf(plane)}`;
    return (await this.server.ask(path, {}, true)).blob();
  }

  async features(image: string, plane = AS_IT_COMES) {
    const path = `api/images/${image}/embedding${queryOf(plane)}`;
    const response = await this.server.ask(path, {}, true);
    return readFeatures(await response.arrayBuffer());
  }

  async records(image: string): Promise<SavedRecord[]> {
    return (await this.server.json<{ records: SavedRecord[] }>(`api/images/${image}/records`))
      .records;
  }

  changes(image: string, known: number | null): Promise<Changes> {
    const query = known === null ? "" : `?known=${known}`;
    return this.server.json(`api/images/${image}/changes${query}`);
  }

  create(image: string, record: Draft, clientId: string): Promise<SavedRecord> {
    const body = { record, client_id: clientId };
    return this.server.json(`api/images/${image}/records`, "POST", body);
  }

  update(record: SavedRecord): Promise<SavedRecord> {
    return this.server.json(`api/records/${record.id}`, "PUT", record, record.version);
  }

  async saveAll(image: string, given: Saving[]): Promise<(SavedRecord | StoreError)[]> {
    const records = given.map(({ record, key, name }) => ({
      record,
      client_id: key,
      ...(name && { id: Number(name.id), version: name.version }),
    }));
    type Kept = { record: SavedRecord | null; error: Partial<Failure> | null };
    const path = `api/images/${image}/records`;
    const { results } = await this.server.json<{ results: Kept[] }>(path, "PUT", { records });
    return results.map(({ record, error }) =>
      error ? troubleOf(error.status ?? 0, error, 1, record) : record!,
    );
  }

  async remove(id: string, version: number): Promise<void> {
    await this.server.json(`api/records/${id}`, "DELETE", undefined, version);
  }

  async events(image: string, events: Happening[]): Promise<void> {
    await this.server.json(`api/images/${image}/events`, "POST", { events });
  }

  async everything(image: string, plane = AS_IT_COMES, tell: Progress = () => {}) {
    const path = `api/images/${image}/everything${queryOf(plane)}`;
    const report = () => this.server.json<ProgressBody>(`api/images/${image}/progress`);
    const clock = setInterval(() => {
      report().then(({ done, total }) => tell(done, total), SILENTLY);
    }, LOOK_MS);
    try {
      return await this.server.work<Everything>(path, "POST", {});
    } finally {
      clearInterval(clock);
    }
  }

  find(image: string, question: SearchBody, plane: Plane): Promise<Finds> {
    return this.server.work(`api/images/${image}/find${queryOf(plane)}`, "POST", question);
  }

  search(question?: SearchBody | null): Promise<SearchState> {
    const method = question ? "POST" : question === null ? "DELETE" : "GET";
    return this.server.work("api/search", method, question ?? undefined);
  }

  words(): Promise<KnownNamesBody> {
    return this.server.json("api/names");
  }

  async done(image: string): Promise<void> {
    await this.server.json(`api/images/${image}/done`, "POST", {});
  }

  async reopen(image: string): Promise<void> {
    await this.server.json(`api/images/${image}/done`, "DELETE");
  }

  nextReview(): Promise<ReviewItem | null> {
    return this.server.json("api/review/next");
  }

  nextConcept(): Promise<ConceptBody | null> {
    return this.server.json("api/review/concept");
  }

  async answerConcept(answer: ConceptAnswerBody): Promise<void> {
    await this.server.json("api/review/concept", "POST", answer);
  }

  verdict(record: string, verdict: Verdict, seconds: number, rle?: CocoRle): Promise<SavedRecord> {
    return this.server.json(`api/records/${record}/verdict`, "POST", { verdict, seconds, rle });
  }

  removeVerdict(record: string): Promise<SavedRecord> {
    return this.server.json(`api/records/${record}/verdict`, "DELETE");
  }

  async thumbnail(image: string): Promise<Blob> {
    return (await this.server.ask(`api/images/${image}/thumbnail`)).blob();
  }

  report(): Promise<Record<string, unknown>> {
    return this.server.json("api/report");
  }

  async export(wish: ExportWish) {
    const { headers, ...file } = await this.server.file(
      "api/export",
      wish,
      `export-${wish.format}`,
    );
    return { ...file, message: decodeURIComponent(headers.get("X-Summary") ?? "") };
  }

  labels(): Promise<LabelEntry[]> {
    return this.named("GET");
  }

  addLabel(name: string, color: string): Promise<LabelEntry[]> {
    return this.named("POST", { name, color });
  }

  changeLabel(name: string, change: LabelChange): Promise<LabelEntry[]> {
    return this.named("PUT", { name, ...change });
  }

  deleteLabel(name: string, masks: LabelFate): Promise<LabelEntry[]> {
    return this.named("DELETE", { name, masks });
  }

  private async named(method: string, body?: unknown): Promise<LabelEntry[]> {
    return (await this.server.json<{ labels: LabelEntry[] }>("api/labels", method, body)).labels;
  }
}
