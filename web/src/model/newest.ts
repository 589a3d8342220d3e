/** Runs one piece of work at a time; of those that wait, only the newest is ever run. */
export class Newest {
  private running = false;
  private next: { start: () => void; skip: () => void } | null = null;

  /** The work's value, or null where newer work came before it could start. */
  async run<T>(work: () => Promise<T>): Promise<T | null> {
    if (this.running && !(await this.turn())) return null;
    this.running = true;
    try {
      return await work();
    } finally {
      const next = this.next;
      this.next = null;
      if (next) next.start();
      else this.running = false;
    }
  }

  private turn(): Promise<boolean> {
    this.next?.skip();
    return new Promise((resolve) => {
      this.next = { start: () => resolve(true), skip: () => resolve(false) };
    });
  }
}
