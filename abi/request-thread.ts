/** One native thread as JavaScript knows it, and what is under way on it. */
import { ptr } from "bun:ffi";

import type { Awaitable } from "./generated/methods.gen.ts";
import { RT_DONE } from "./generated/ops.gen.ts";

/** What a downcall passes; the fields of struct rt_message. */
export interface Call {
  readonly op: number;
  readonly module: number;
  readonly nxdata?: number;
  readonly handle?: number;
  readonly buf?: Uint8Array;
  readonly offset?: bigint;
  readonly count?: number;
  readonly flags?: number;
  readonly readonly?: boolean;
  readonly key?: number;
  readonly value?: number;
  /** What log lines about it start with: for C, and for us. */
  readonly log?: { readonly pointer: number; readonly text: string };
  /** The return value is wanted as `size`. */
  readonly returnsSize?: boolean;
}

/** How a callback came back. */
export interface Result {
  /** The return value as a signed 64-bit integer; exact up to 2^53. */
  readonly ret: number;
  /** The same, exact, where the call said `returnsSize`; else 0. */
  readonly size: bigint;
  /** What nbdkit_set_error was given, or 0. */
  readonly stored: number;
  /** errno when it returned. */
  readonly errno: number;
}

/** What a thread needs of the bridge. */
export interface ThreadLink {
  sendCall(slot: number, call: Call, address: number): void;
  sendAnswer(slot: number, ret: bigint | number, err: number): void;
  readResult(slot: number, returnsSize: boolean): Result;
  /** Run the upcall whose message is in the thread's slot. `known` is a view of C's memory at `knownAddress`. */
  dispatch(
    thread: RequestThread,
    known: Uint8Array | undefined,
    knownAddress: number,
  ): Awaitable<bigint | number | void>;
  /** Log a failure that C gets as a number, and give that number. */
  report(error: unknown, logName: string | undefined): number;
}

interface Down {
  readonly kind: "down";
  readonly call: Call;
  readonly address: number;
  readonly settle: (result: Result) => void;
}
interface Up {
  readonly kind: "up";
  answer: { readonly ret: bigint | number; readonly err: number } | undefined;
}

/**
 * Each thread has a stack of what is under way on it: a downcall (C runs), on it an upcall (C is parked
 * and JavaScript works for it), on that a downcall of a C layer further down, and so on. Messages go to a
 * thread only while it is parked or idle; what comes in the meantime waits in its queue.
 */
export class RequestThread {
  readonly slot: number;
  readonly #bridge: ThreadLink;
  readonly #stack: (Down | Up)[] = [];
  readonly #queue: Down[] = [];
  /** C runs on it, or is about to. */
  #busy = false;
  /** Called when nothing is left to do on it. */
  onIdle: (() => void) | undefined;

  constructor(bridge: ThreadLink, slot: number) {
    this.#bridge = bridge;
    this.slot = slot;
  }

  /** Whether something is under way on it, so that it may be given more. */
  get engaged(): boolean {
    return this.#stack.length > 0;
  }

  /** Run a callback on it, at once or when it is parked again. */
  call(call: Call): Promise<Result> {
    return new Promise((settle) => {
      const { buf } = call;
      let address = 0;
      if (buf !== undefined) {
        // Touching .buffer moves the bytes to where they stay; only then may the address be taken.
        void buf.buffer;
        address = ptr(buf);
      }
      this.#queue.push({ kind: "down", call, address, settle });
      if (!this.#busy) this.#advance();
    });
  }

  /** A message of this thread arrived. */
  received(kind: number): void {
    this.#busy = false;
    if (kind === RT_DONE) {
      const down = this.#stack.pop();
      if (down?.kind === "down")
        down.settle(this.#bridge.readResult(this.slot, down.call.returnsSize === true));
      this.#advance();
      return;
    }
    const top = this.#stack.at(-1);
    const up: Up = { kind: "up", answer: undefined };
    this.#stack.push(up);
    this.#serve(up, top?.kind === "down" ? top : undefined);
  }

  #serve(up: Up, down: Down | undefined): void {
    const answer = (ret: bigint | number | void) => {
      up.answer = { ret: ret ?? 0, err: 0 };
      if (!this.#busy) this.#advance();
    };
    const fail = (error: unknown) => {
      up.answer = { ret: -1, err: this.#bridge.report(error, down?.call.log?.text) };
      if (!this.#busy) this.#advance();
    };
    try {
      const result = this.#bridge.dispatch(this, down?.call.buf, down?.address ?? 0);
      if (result instanceof Promise) result.then(answer, fail);
      else answer(result);
    } catch (error) {
      fail(error);
    }
  }

  /** Send what may be sent now: waiting downcalls first, then the answer that C is parked for. */
  #advance(): void {
    const next = this.#queue.shift();
    if (next !== undefined) {
      this.#busy = true;
      this.#stack.push(next);
      this.#bridge.sendCall(this.slot, next.call, next.address);
      return;
    }
    const top = this.#stack.at(-1);
    if (top === undefined) {
      this.onIdle?.();
    } else if (top.kind === "up" && top.answer !== undefined) {
      this.#busy = true;
      this.#stack.pop();
      // A thread of a module's own has nothing below its upcall: it goes its way.
      if (this.#stack.length === 0) this.#busy = false;
      this.#bridge.sendAnswer(this.slot, top.answer.ret, top.answer.err);
    }
  }
}
