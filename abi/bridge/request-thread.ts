/** A native thread and the calls that are in progress on it. */
import { NbdError } from "#api";
import { log } from "#lib/log";
import { speakOf } from "#lib/speaker";
import { messageOf } from "#lib/thrown";

import type { Answer, Upcall } from "../generated/messages.gen.ts";
import type { CallQueue } from "./call-queue.ts";
import { type Arguments, type Call, downcall, type PendingCall, type Result } from "./call.ts";
import { type Answered, answerOf, failureOf } from "./upcall.ts";

/** The part of the bridge that a thread needs. */
export interface ThreadLink {
  sendCall(slot: number, call: Call): void;
  sendAnswer(slot: number, answer: Answer): void;
  readResult(base: number, pending: PendingCall): Result;
  /** Run the upcall whose message is in the thread's slot. `args` are those of the callback that makes it. */
  dispatch(parked: Parked, upcall: Upcall, base: number, args: Arguments | undefined): Answered;
  /** Log a failure, and return the errno that C gets. */
  report(error: unknown, logName: string | undefined): number;
}

/** Detach a view of memory that C may free as soon as it has its answer, in case a layer has kept the view. */
function detach(lent: ArrayBuffer | undefined): void {
  if (lent === undefined || lent.detached) return;
  try {
    lent.transfer();
  } catch (error) {
    // A system call still uses it, for a layer that did not wait.
    log.debug(`memory of a C module cannot be detached: ${messageOf(error)}`);
  }
}

/** The text of a failure for clients. */
function reasonOf(error: unknown): string {
  const message = messageOf(error);
  return message === "" && error instanceof NbdError ? error.reported : message;
}

/** A thread that waits in an upcall. It runs calls of C layers further down, one after the other. */
export class Parked {
  readonly thread: RequestThread;
  readonly queue: PendingCall[] = [];
  answer: Answer | undefined;
  /** False once the upcall is answered: a layer may keep this object, but the thread then runs something else. */
  active = true;
  /** A buffer of C, which JavaScript may use until the answer. */
  lent: ArrayBuffer | undefined;

  constructor(thread: RequestThread) {
    this.thread = thread;
  }

  /** Run a callback of a layer further down, after those that were added before. */
  call(call: Call): Promise<Result> {
    return this.thread.enqueue(this.queue, call);
  }
}

/**
 * Each thread has a stack of calls in progress: a downcall (C runs; a call that it took from a queue is not in the
 * stack), on top an upcall (C is parked and waits for JavaScript), then a downcall of a C layer further down, and so
 * on. A message is sent to a thread only while the thread is parked or idle. Until then a call waits in the queue of
 * the upcall that it belongs to: on top of another request's upcall, it could wait for a mutex that its own thread
 * holds.
 */
export class RequestThread {
  readonly slot: number;
  /** The queue of the connection that owns the thread. It runs the waiting calls while the thread is parked. */
  overflow: CallQueue | undefined;
  readonly #bridge: ThreadLink;
  readonly #stack: (PendingCall | Parked)[] = [];
  readonly #queue: PendingCall[] = [];

  constructor(bridge: ThreadLink, slot: number) {
    this.#bridge = bridge;
    this.slot = slot;
  }

  /** The upcall that the thread waits in, if any. */
  get parked(): Parked | undefined {
    const top = this.#stack.at(-1);
    return top instanceof Parked ? top : undefined;
  }

  /** Whether no call is in progress on it. */
  get idle(): boolean {
    return this.#stack.length === 0;
  }

  /** Remove and return the calls of connections that wait for the thread to be idle: other threads run them. */
  takeWaiting(): readonly PendingCall[] {
    const taken = this.#queue.filter(({ call }) => call.connection !== 0);
    for (const pending of taken) this.#queue.splice(this.#queue.indexOf(pending), 1);
    return taken;
  }

  /** Run a callback once the thread is idle. */
  call(call: Call): Promise<Result> {
    return this.enqueue(this.#queue, call);
  }

  enqueue(queue: PendingCall[], call: Call): Promise<Result> {
    return downcall(call, (pending) => {
      queue.push(pending);
      this.#advance();
    });
  }

  #start(pending: PendingCall): void {
    this.#stack.push(pending);
    this.#bridge.sendCall(this.slot, pending.call);
  }

  /** The callback that was sent to the thread has returned, with a message at `base`. */
  done(base: number): void {
    const pending = this.#stack.pop();
    if (pending === undefined || pending instanceof Parked) return;
    pending.settle(this.#bridge.readResult(base, pending));
    this.#advance();
  }

  /** The thread waits in an upcall, in a callback that was sent to it, or in `queued`, which it took from a queue. */
  park(upcall: Upcall, base: number, queued: PendingCall | undefined): void {
    const top = this.#stack.at(-1);
    const pending = top instanceof Parked ? undefined : (top ?? queued);
    const parked = new Parked(this);
    this.#stack.push(parked);
    this.#serve(parked, upcall, base, pending);
  }

  #serve(parked: Parked, upcall: Upcall, base: number, pending: PendingCall | undefined): void {
    const answer = (reply: Awaited<Answered>) => {
      parked.answer = answerOf(reply);
      this.#advance();
    };
    const logName = pending?.call.logName;
    const fail = (error: unknown) => {
      if (pending !== undefined) pending.failureBelow = reasonOf(error);
      parked.answer = failureOf(this.#bridge.report(error, logName));
      this.#advance();
    };
    try {
      // The upcall may have been collected while another client was served.
      const result = speakOf(logName ?? "", () =>
        this.#bridge.dispatch(parked, upcall, base, pending?.call.args),
      );
      if (result instanceof Promise) result.then(answer, fail);
      else answer(result);
    } catch (error) {
      fail(error);
    }
  }

  /** Send the next message that may be sent now: a waiting downcall, or the answer of the upcall. */
  #advance(): void {
    const top = this.#stack.at(-1);
    if (top === undefined) {
      const next = this.#queue.shift();
      if (next !== undefined) this.#start(next);
    } else if (top instanceof Parked) {
      const next = top.queue.shift();
      if (next !== undefined) {
        this.#start(next);
      } else if (top.answer !== undefined) {
        top.active = false;
        this.#stack.pop();
        detach(top.lent);
        this.#bridge.sendAnswer(this.slot, top.answer);
      }
    }
  }
}
