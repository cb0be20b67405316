/** Numbers calls in the memory that C reads, which has room for a limited number of them. */
import type { CallQueue } from "./call-queue.ts";
import type { PendingCall } from "./call.ts";

/** A call that has a number. */
interface Numbered {
  readonly pending: PendingCall;
  readonly owner: CallQueue;
}

export class CallNumbers {
  readonly #most: number;
  readonly #numbered: (Numbered | undefined)[] = [];
  /** Numbers that have been released. */
  readonly #free: number[] = [];
  /**
   * Queues with calls that wait for a number, in the order of waiting. They get each number that is released, so no
   * other queue overtakes them.
   */
  readonly #waiting = new Set<CallQueue>();

  constructor(most: number) {
    this.#most = most;
  }

  /** A number for the call. Undefined if all are in use: then `resume` of its queue is called later. */
  assign(pending: PendingCall, owner: CallQueue): number | undefined {
    const number = this.#free.pop() ?? this.#numbered.length;
    if (number === this.#most) {
      this.#waiting.add(owner);
      return undefined;
    }
    this.#numbered[number] = { pending, owner };
    return number;
  }

  pendingCall(number: number): PendingCall | undefined {
    return this.#numbered[number]?.pending;
  }

  /** Free the number. Its message is still readable until the next `assign`. */
  release(number: number): Numbered | undefined {
    const numbered = this.#numbered[number];
    if (numbered === undefined) return undefined;
    this.#numbered[number] = undefined;
    this.#free.push(number);
    return numbered;
  }

  /** Give a free number to the queue that has waited longest. */
  resumeNext(): void {
    const [queue] = this.#waiting;
    if (queue === undefined) return;
    this.#waiting.delete(queue);
    if (queue.resume()) this.#waiting.add(queue);
  }
}
