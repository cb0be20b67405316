/** Numbers of calls in the memory that C reads. Their number is limited. */
import type { CallQueue } from "./call-queue.ts";
import type { Down } from "./call.ts";

/** A call that has a number. */
interface Numbered {
  readonly down: Down;
  readonly owner: CallQueue;
}

export class CallNumbers {
  readonly #most: number;
  readonly #numbered: (Numbered | undefined)[] = [];
  /** Numbers that were used and are free again. */
  readonly #free: number[] = [];
  /**
   * Queues with calls for which there was no number, each in its turn. While there are any, no number is free, so that
   * no other caller overtakes them.
   */
  readonly #starving = new Set<CallQueue>();

  constructor(most: number) {
    this.#most = most;
  }

  /** A number for the call, or undefined: then its queue is fed later. */
  take(down: Down, owner: CallQueue): number | undefined {
    const number = this.#free.pop() ?? this.#numbered.length;
    if (number === this.#most) {
      this.#starving.add(owner);
      return undefined;
    }
    this.#numbered[number] = { down, owner };
    return number;
  }

  downOf(number: number): Down | undefined {
    return this.#numbered[number]?.down;
  }

  /** The number may be used again, once its message has been read. */
  release(number: number): Numbered | undefined {
    const numbered = this.#numbered[number];
    if (numbered === undefined) return undefined;
    this.#numbered[number] = undefined;
    this.#free.push(number);
    return numbered;
  }

  /** A number is free: the queue that has waited longest gets it. */
  feed(): void {
    const [queue] = this.#starving;
    if (queue === undefined) return;
    this.#starving.delete(queue);
    if (queue.resume()) this.#starving.add(queue);
  }
}
