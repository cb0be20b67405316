/** The queue of one connection: native threads, up to a limit, run its calls of C layers. */
import type { Pointer } from "bun:ffi";

import { type Call, downcall, type PendingCall, type Result } from "./call.ts";
import { submittedTogether } from "./limits.ts";

/** What a queue needs of the bridge. */
export interface QueueLink {
  newQueue(limit: number): Pointer;
  freeQueue(queue: Pointer): void;
  /**
   * Write the call to shared memory and return its number. Undefined if all numbers are in use: then `resume` of the
   * owner is called when one is free.
   */
  newCall(pending: PendingCall, owner: CallQueue): number | undefined;
  /** Let threads begin these calls. The numbers are copied. */
  submit(queue: Pointer, calls: Uint32Array, n: number): void;
}

export class CallQueue {
  readonly #link: QueueLink;
  readonly #queue: Pointer;
  readonly #batch = new Uint32Array(new ArrayBuffer(4 * submittedTogether));
  #batched = 0;
  /** Calls that wait for a number. */
  readonly #waiting: PendingCall[] = [];
  #outstanding = 0;
  #released = false;

  constructor(link: QueueLink, limit: number) {
    this.#link = link;
    this.#queue = link.newQueue(limit);
  }

  /** Run a callback on a thread that runs nothing else. */
  call(call: Call): Promise<Result> {
    return downcall(call, (pending) => this.add(pending));
  }

  /** The same for a call that waited elsewhere. */
  add(pending: PendingCall): void {
    this.#outstanding++;
    if (!this.#enter(pending)) this.#waiting.push(pending);
  }

  #enter(pending: PendingCall): boolean {
    const number = this.#link.newCall(pending, this);
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

  /** A number is free for a waiting call. Returns whether more calls wait. */
  resume(): boolean {
    const [next] = this.#waiting;
    if (next !== undefined && this.#enter(next)) this.#waiting.shift();
    return this.#waiting.length > 0;
  }

  /** A call has returned. */
  returned(): void {
    this.#outstanding--;
    if (this.#released && this.#outstanding === 0) this.#link.freeQueue(this.#queue);
  }

  /** No more calls will come. */
  release(): void {
    this.#released = true;
    if (this.#outstanding === 0) this.#link.freeQueue(this.#queue);
  }
}
