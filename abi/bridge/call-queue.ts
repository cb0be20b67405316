/** The queue of one connection: what it asks of C layers is run there by native threads, as many as it may have. */
import type { Pointer } from "bun:ffi";

import { type Call, type Down, downcall, type Result } from "./call.ts";
import { submittedTogether } from "./limits.ts";

/** What a queue needs of the bridge. */
export interface QueueLink {
  newQueue(limit: number): Pointer;
  freeQueue(queue: Pointer): void;
  /**
   * Write the call to shared memory and return its number; undefined where there are as many as there can be. Then the
   * owner is told to `resume` when there is one free, whichever queue's it was.
   */
  newCall(down: Down, owner: CallQueue): number | undefined;
  /** Have these calls begun with. They are copied. */
  submit(queue: Pointer, calls: Uint32Array, n: number): void;
}

export class CallQueue {
  readonly #link: QueueLink;
  readonly #queue: Pointer;
  readonly #batch = new Uint32Array(new ArrayBuffer(4 * submittedTogether));
  #batched = 0;
  /** Calls for which there was no number left. */
  readonly #waiting: Down[] = [];
  #underWay = 0;
  #released = false;

  constructor(link: QueueLink, limit: number) {
    this.#link = link;
    this.#queue = link.newQueue(limit);
  }

  /** Run a callback on a thread that nothing is under way on. */
  call(call: Call): Promise<Result> {
    return downcall(call, (down) => this.add(down));
  }

  /** The same for a call that waited elsewhere. */
  add(down: Down): void {
    this.#underWay++;
    if (!this.#enter(down)) this.#waiting.push(down);
  }

  #enter(down: Down): boolean {
    const number = this.#link.newCall(down, this);
    if (number === undefined) return false;
    if (this.#batched === 0) queueMicrotask(this.#submit);
    this.#batch[this.#batched++] = number;
    if (this.#batched === submittedTogether) this.#submit();
    return true;
  }

  readonly #submit = (): void => {
    if (this.#batched === 0) return;
    const n = this.#batched;
    this.#batched = 0;
    this.#link.submit(this.#queue, this.#batch, n);
  };

  /** There is a number for a call that waits. Whether there are more of these. */
  resume(): boolean {
    const [next] = this.#waiting;
    if (next !== undefined && this.#enter(next)) this.#waiting.shift();
    return this.#waiting.length > 0;
  }

  /** A call is done. */
  returned(): void {
    this.#underWay--;
    if (this.#released && this.#underWay === 0) this.#link.freeQueue(this.#queue);
  }

  /** No more calls will come. */
  release(): void {
    this.#released = true;
    if (this.#underWay === 0) this.#link.freeQueue(this.#queue);
  }
}
