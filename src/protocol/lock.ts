/** A lock that is granted in the order of requests. */
export class Lock {
  #held = false;
  readonly #waiting: (() => void)[] = [];

  /** The lock is neither held nor waited for. */
  get free(): boolean {
    return !this.#held;
  }

  /** Take the lock, which must be free. */
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

  /** Pass the lock to the longest waiter. It stays held meanwhile, so no other caller can get in between. */
  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#held = false;
    else next();
  }

  /** Call `go` while holding the lock. */
  async run<T>(go: () => Promise<T>): Promise<T> {
    await this.acquire();
    try {
      return await go();
    } finally {
      this.release();
    }
  }
}
