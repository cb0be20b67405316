/** One native thread as JavaScript knows it, and what is under way on it. */
import { ptr } from "bun:ffi";

import type { NativeConnection } from "./connection.ts";
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
  /** Whom it is done for. */
  readonly connection?: NativeConnection;
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
  readResult(base: number, returnsSize: boolean): Result;
  /** Leave a downcall for the thread to begin with when the one it is in has returned. */
  sendNext(slot: number, call: Call, address: number): void;
  /** Whether that could be undone: the thread has not begun with it. */
  takeBackNext(slot: number): boolean;
  /** Run the upcall whose message is in the thread's slot. `known` is a view of C's memory at `knownAddress`. */
  dispatch(
    parked: Parked,
    base: number,
    known: Uint8Array | undefined,
    knownAddress: number,
  ): Awaitable<bigint | number | void>;
  /** Log a failure that C gets as a number, and give that number. */
  report(error: unknown, logName: string | undefined): number;
}

/** Who has lent a thread out. */
export interface Owner {
  /** What the thread may do after what it is doing. */
  more(thread: RequestThread): Down | undefined;
  begun(thread: RequestThread): void;
  idle(thread: RequestThread): void;
}

export interface Down {
  readonly call: Call;
  readonly address: number;
  readonly settle: (result: Result) => void;
}

/** Make a record of a call and hand it to `use`; resolves when the callback has returned. */
export function downcall(call: Call, use: (down: Down) => void): Promise<Result> {
  return new Promise((settle) => {
    const { buf } = call;
    let address = 0;
    if (buf !== undefined) {
      // Touching .buffer moves the bytes to where they stay; only then may the address be taken.
      void buf.buffer;
      address = ptr(buf);
    }
    use({ call, address, settle });
  });
}

/** A thread that waits in an upcall. C layers further down are run on it, one after the other. */
export class Parked {
  readonly thread: RequestThread;
  readonly queue: Down[] = [];
  answer: { readonly ret: bigint | number; readonly err: number } | undefined;
  /** Until it is answered. A layer may hold on to it for longer; then the thread does something else. */
  active = true;

  constructor(thread: RequestThread) {
    this.thread = thread;
  }

  /** Run a callback of a layer further down, when those before it have returned. */
  call(call: Call): Promise<Result> {
    return this.thread.enqueue(this.queue, call);
  }
}

/**
 * Each thread has a stack of what is under way on it: a downcall (C runs), on it an upcall (C is parked
 * and JavaScript works for it), on that a downcall of a C layer further down, and so on. Messages go to a
 * thread only while it is parked or idle. What is sent to it in the meantime waits in the queue of the upcall
 * that it belongs to: run on top of another request's upcall it could wait for a mutex that its own thread holds.
 */
export class RequestThread {
  readonly slot: number;
  readonly #bridge: ThreadLink;
  readonly #stack: (Down | Parked)[] = [];
  readonly #queue: Down[] = [];
  /** Sent ahead: it begins with it when it has nothing else to do. */
  #next: Down | undefined;
  owner: Owner | undefined;

  constructor(bridge: ThreadLink, slot: number) {
    this.#bridge = bridge;
    this.slot = slot;
  }

  /** The upcall that it waits in, if it does. */
  get parked(): Parked | undefined {
    const top = this.#stack.at(-1);
    return top instanceof Parked ? top : undefined;
  }

  /** Run a callback with nothing below it. */
  call(call: Call): Promise<Result> {
    return this.enqueue(this.#queue, call);
  }

  enqueue(queue: Down[], call: Call): Promise<Result> {
    return downcall(call, (down) => {
      queue.push(down);
      this.#advance();
    });
  }

  /** Begin with a callback; the thread is idle. */
  start(down: Down): void {
    this.#stack.push(down);
    this.#bridge.sendCall(this.slot, down.call, down.address);
  }

  /** What it was told to do next, unless it has begun with it. */
  takeBack(): Down | undefined {
    const next = this.#next;
    if (next === undefined || !this.#bridge.takeBackNext(this.slot)) return undefined;
    this.#next = undefined;
    return next;
  }

  /** A message of this thread arrived; `base` is where it stands. */
  received(kind: number, base: number): void {
    const top = this.#stack.at(-1);
    const down = top instanceof Parked ? undefined : top;
    if (kind === RT_DONE) {
      this.#stack.pop();
      const next = this.#next;
      if (next !== undefined && this.#stack.length === 0) {
        // It goes on with what it was told before.
        this.#next = undefined;
        this.#stack.push(next);
        this.owner?.begun(this);
        down?.settle(this.#bridge.readResult(base, down.call.returnsSize === true));
        return;
      }
      down?.settle(this.#bridge.readResult(base, down.call.returnsSize === true));
      this.#advance();
      return;
    }
    const parked = new Parked(this);
    this.#stack.push(parked);
    this.#serve(parked, base, down);
  }

  #serve(parked: Parked, base: number, down: Down | undefined): void {
    const answer = (ret: bigint | number | void) => {
      parked.answer = { ret: ret ?? 0, err: 0 };
      this.#advance();
    };
    const fail = (error: unknown) => {
      parked.answer = { ret: -1, err: this.#bridge.report(error, down?.call.connection?.logName) };
      this.#advance();
    };
    try {
      const result = this.#bridge.dispatch(parked, base, down?.call.buf, down?.address ?? 0);
      if (result instanceof Promise) result.then(answer, fail);
      else answer(result);
    } catch (error) {
      fail(error);
    }
  }

  /** Send what may be sent now: the next downcall, or the answer that C is parked for. */
  #advance(): void {
    const top = this.#stack.at(-1);
    if (top === undefined) {
      const next = this.#queue.shift();
      if (next === undefined) this.owner?.idle(this);
      else this.start(next);
    } else if (top instanceof Parked) {
      const next = top.queue.shift();
      if (next !== undefined) {
        this.start(next);
      } else if (top.answer !== undefined) {
        top.active = false;
        this.#stack.pop();
        if (this.#stack.length === 1 && this.#next === undefined) this.#tell();
        this.#bridge.sendAnswer(this.slot, top.answer.ret, top.answer.err);
      }
    }
  }

  /** The answer may well be the last thing that its callback waits for: then it need not sleep before the next one. */
  #tell(): void {
    this.#next = this.owner?.more(this);
    if (this.#next === undefined) return;
    this.#bridge.sendNext(this.slot, this.#next.call, this.#next.address);
  }
}
