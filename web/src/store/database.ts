/** IndexedDB as promises, and a journal for the rows that must not be lost with the page. */

import { Journal, browserStorage } from "./journal";

export type Table = "images" | "photos" | "records" | "events" | "settings" | "outbox" | "names";

const TABLES: Record<Table, { key: string; by?: string; counted?: boolean }> = {
  images: { key: "id" },
  photos: { key: "id" },
  records: { key: "id", by: "image" },
  events: { key: "number", by: "image", counted: true },
  settings: { key: "name" },
  outbox: { key: "number", counted: true },
  names: { key: "key" },
};

const settled = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });

export class Database {
  private constructor(
    private readonly db: IDBDatabase,
    private readonly journal: Journal,
  ) {}

  /** Open it, with what earlier pages could not finish writing. */
  static async open(name: string, storage = browserStorage()): Promise<Database> {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      for (const [table, { key, by, counted }] of Object.entries(TABLES)) {
        const options = { keyPath: key, autoIncrement: counted };
        const made = request.result.createObjectStore(table, options);
        if (by) made.createIndex(by, by);
      }
    };
    const database = new Database(await settled(request), new Journal(name, storage));
    await database.replay();
    return database;
  }

  private async replay(): Promise<void> {
    for (const [{ table, key, row }, done] of this.journal.left()) {
      await (row === null ? this.delete(table, key) : this.put(table, row));
      done();
    }
  }

  /** Write one row that is safe from now on, whatever happens to the page; JSON can hold it. */
  async keep<T extends object>(table: Table, row: T): Promise<void> {
    const key = row[TABLES[table].key as keyof T] as IDBValidKey;
    const done = this.journal.write({ table, key, row });
    await this.put(table, row);
    done();
  }

  /** Take one row away, for good from now on. */
  async forget(table: Table, key: IDBValidKey): Promise<void> {
    const done = this.journal.write({ table, key, row: null });
    await this.delete(table, key);
    done();
  }

  private table(name: Table, mode: IDBTransactionMode): IDBObjectStore {
    return this.db.transaction(name, mode, { durability: "strict" }).objectStore(name);
  }

  get<T>(table: Table, key: IDBValidKey): Promise<T | undefined> {
    return settled(this.table(table, "readonly").get(key));
  }

  all<T>(table: Table): Promise<T[]> {
    return settled(this.table(table, "readonly").getAll());
  }

  /** The rows of one image. */
  of<T>(table: "records" | "events", image: string): Promise<T[]> {
    return settled(this.table(table, "readonly").index("image").getAll(image));
  }

  /** Write one row; resolves when it is on the disk. */
  put(table: Table, row: unknown): Promise<void> {
    return this.written(table, (store) => store.put(row));
  }

  /** Take one row away; resolves when it is gone from the disk. */
  delete(table: Table, key: IDBValidKey): Promise<void> {
    return this.written(table, (store) => store.delete(key));
  }

  private written(table: Table, write: (store: IDBObjectStore) => void): Promise<void> {
    return new Promise((done, failed) => {
      const store = this.table(table, "readwrite");
      write(store);
      store.transaction.oncomplete = () => done();
      store.transaction.onabort = () => failed(store.transaction.error);
    });
  }

  /** Change one row in one transaction, so that two tabs never overwrite each other. */
  change<T>(
    table: Table,
    key: IDBValidKey,
    how: (row: T | undefined) => T | null,
  ): Promise<T | null> {
    return new Promise((done, failed) => {
      const store = this.table(table, "readwrite");
      let result: T | null = null;
      const request = store.get(key);
      request.onsuccess = () => {
        try {
          result = how(request.result as T | undefined);
          if (result === null) store.delete(key);
          else store.put(result);
        } catch (error) {
          failed(error);
          store.transaction.abort();
        }
      };
      store.transaction.oncomplete = () => done(result);
      store.transaction.onabort = () => failed(store.transaction.error);
    });
  }
}
