/** A lock that is granted in the order in which it was asked for. */
export class Lock {
  #held = false;
  readonly #waiting: (() => void)[] = [];

  /** Neither held nor waited for. */
  get free(): boolean {
    return !this.#held;
  }

  /** Only where it is free. */
  take(): void {
    this.#held = true;
  }

  acquire(): Promise<void> {
    if (!this.#held) {
      this.#held = true;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** Pass it to the longest waiter. It stays held meanwhile, so that no other caller gets in between. */
  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#held = false;
    else next();
  }

  /** Call `go` while holding it. */
  async run<T>(go: () => Promise<T>): Promise<T> {
    await this.acquire();
    try {
      return await go();
    } finally {
      this.release();
    }
  }
}
