/** Keeps changes of overlapping ranges in the order of the client's requests. */

interface Change {
  readonly start: bigint;
  readonly end: bigint;
  readonly done: Promise<void>;
}

/** The changes of one open file that run on other threads. */
export class Changes {
  readonly #running = new Set<Change>();

  /** Whether an outstanding change shares a byte with the range. */
  overlap(offset: bigint, count: number): boolean {
    return this.#running.size > 0 && this.#overlapping(offset, count).length > 0;
  }

  /** Start a change when the changes that it overlaps have ended, even if they failed. */
  run(offset: bigint, count: number, start: () => Promise<void>): Promise<void> {
    const earlier = this.#overlapping(offset, count);
    const done = earlier.length === 0 ? start() : Promise.allSettled(earlier).then(start);
    const change: Change = { start: offset, end: offset + BigInt(count), done };
    this.#running.add(change);
    return done.finally(() => this.#running.delete(change));
  }

  #overlapping(offset: bigint, count: number): Promise<void>[] {
    const end = offset + BigInt(count);
    const found: Promise<void>[] = [];
    for (const change of this.#running) {
      if (change.start < end && offset < change.end) found.push(change.done);
    }
    return found;
  }
}
