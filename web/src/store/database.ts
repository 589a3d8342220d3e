/** IndexedDB as promises. */

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
  private constructor(private readonly db: IDBDatabase) {}

  static async open(name: string): Promise<Database> {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      for (const [table, { key, by, counted }] of Object.entries(TABLES)) {
        const options = { keyPath: key, autoIncrement: counted };
        const made = request.result.createObjectStore(table, options);
        if (by) made.createIndex(by, by);
      }
    };
    return new Database(await settled(request));
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
  put(table: Table, row: unknown): Promise<IDBValidKey> {
    return new Promise((done, failed) => {
      const store = this.table(table, "readwrite");
      const request = store.put(row);
      store.transaction.oncomplete = () => done(request.result);
      store.transaction.onabort = () => failed(store.transaction.error);
    });
  }

  delete(table: Table, key: IDBValidKey): Promise<undefined> {
    return settled(this.table(table, "readwrite").delete(key));
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
