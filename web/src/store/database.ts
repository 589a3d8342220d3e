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

interface Write {
  write: (store: IDBObjectStore) => void;
  done: () => void;
  failed: (error: unknown) => void;
}

export class Database {
  private readonly queues = new Map<Table, Write[]>(); // not on their way yet
  private readonly writing = new Map<Table, IDBTransaction>(); // on its way

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

  /** A table behind every write that was asked for before. */
  private table(name: Table, mode: IDBTransactionMode): IDBObjectStore {
    this.writeQueue(name);
    return this.open(name, mode);
  }

  private open(name: Table, mode: IDBTransactionMode): IDBObjectStore {
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
  async put(table: Table, row: unknown): Promise<void> {
    const asItIs = structuredClone(row); // it may wait, and be changed meanwhile
    return this.written(table, (store) => store.put(asItIs));
  }

  /** Take one row away; resolves when it is gone from the disk. */
  delete(table: Table, key: IDBValidKey): Promise<void> {
    return this.written(table, (store) => store.delete(key));
  }

  /**
   * Writes that come while others are on their way to the disk go there together, in one
   * transaction: each takes the disk's time. What is read meanwhile is read behind them.
   */
  private written(table: Table, write: (store: IDBObjectStore) => void): Promise<void> {
    return new Promise((done, failed) => {
      const queue = this.queues.get(table) ?? [];
      this.queues.set(table, [...queue, { write, done, failed }]);
      if (!this.writing.has(table)) this.writeQueue(table);
    });
  }

  private writeQueue(table: Table): void {
    const queue = this.queues.get(table) ?? [];
    if (!queue.length) return;
    this.queues.delete(table);
    const store = this.open(table, "readwrite");
    const { transaction } = store;
    this.writing.set(table, transaction);
    const ended = () => {
      if (this.writing.get(table) !== transaction) return;
      this.writing.delete(table);
      this.writeQueue(table);
    };
    for (const { write, failed } of queue) {
      try {
        write(store);
      } catch (error) {
        failed(error);
      }
    }
    transaction.oncomplete = () => {
      for (const { done } of queue) done();
      ended();
    };
    transaction.onabort = () => {
      for (const { failed } of queue) failed(transaction.error);
      ended();
    };
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
