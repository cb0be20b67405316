/** One native thread as JavaScript knows it, and what is under way on it. */
import { NbdError } from "#api";
import { log } from "#lib/log";
import { speakOf } from "#lib/speaker";
import { messageOf } from "#lib/thrown";

import type { Answer, Upcall } from "../generated/messages.gen.ts";
import type { CallQueue } from "./call-queue.ts";
import { type Arguments, type Call, type Down, downcall, type Result } from "./call.ts";
import { type Answered, answerOf, failureOf } from "./upcall.ts";

/** What a thread needs of the bridge. */
export interface ThreadLink {
  sendCall(slot: number, call: Call): void;
  sendAnswer(slot: number, answer: Answer): void;
  readResult(base: number, down: Down): Result;
  /** Run the upcall whose message is in the thread's slot. `known` are the arguments of the callback that asks. */
  dispatch(parked: Parked, upcall: Upcall, base: number, known: Arguments | undefined): Answered;
  /** Log a failure that C gets as a number, and give that number. */
  report(error: unknown, logName: string | undefined): number;
}

/** C may free it at once: a kept view must be empty, rather than show the later content. */
function takeBack(lent: ArrayBuffer | undefined): void {
  if (lent === undefined || lent.detached) return;
  try {
    lent.transfer();
  } catch (error) {
    // Something native still works with it, for a layer that did not wait for that.
    log.debug(`memory that C has lent cannot be taken back: ${messageOf(error)}`);
  }
}

/** The text of a failure for clients. */
function saidBy(error: unknown): string {
  const message = messageOf(error);
  return message === "" && error instanceof NbdError ? error.reported : message;
}

/** A thread that waits in an upcall. C layers further down are run on it, one after the other. */
export class Parked {
  readonly thread: RequestThread;
  readonly queue: Down[] = [];
  answer: Answer | undefined;
  /** Until it is answered. A layer may hold on to it for longer; then the thread does something else. */
  active = true;
  /** C's memory, which it has lent to JavaScript until it is answered. */
  lent: ArrayBuffer | undefined;

  constructor(thread: RequestThread) {
    this.thread = thread;
  }

  /** Run a callback of a layer further down, when those before it have returned. */
  call(call: Call): Promise<Result> {
    return this.thread.enqueue(this.queue, call);
  }
}

/**
 * Each thread has a stack of what is under way on it: a downcall (C runs; one that it took from a
 * queue is not in the stack), on it an upcall (C is parked and JavaScript works for it), on that a
 * downcall of a C layer further down, and so on. Messages go to a thread only while it is parked
 * or idle. What is sent to it in the meantime waits in the queue of the upcall that it belongs to:
 * run on top of another request's upcall it could wait for a mutex that its own thread holds.
 */
export class RequestThread {
  readonly slot: number;
  /** Of the connection whose thread it is: runs what waits while the thread waits in an upcall. */
  overflow: CallQueue | undefined;
  readonly #bridge: ThreadLink;
  readonly #stack: (Down | Parked)[] = [];
  readonly #queue: Down[] = [];

  constructor(bridge: ThreadLink, slot: number) {
    this.#bridge = bridge;
    this.slot = slot;
  }

  /** The upcall that it waits in, if it does. */
  get parked(): Parked | undefined {
    const top = this.#stack.at(-1);
    return top instanceof Parked ? top : undefined;
  }

  /** Whether nothing is under way on it. */
  get idle(): boolean {
    return this.#stack.length === 0;
  }

  /** Take the calls of connections that wait for it to be idle: others run them. */
  takeWaiting(): readonly Down[] {
    const taken = this.#queue.filter(({ call }) => call.connection !== 0);
    for (const down of taken) this.#queue.splice(this.#queue.indexOf(down), 1);
    return taken;
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

  #start(down: Down): void {
    this.#stack.push(down);
    this.#bridge.sendCall(this.slot, down.call);
  }

  /** The callback that was sent to it has returned; `base` is where the message stands. */
  done(base: number): void {
    const down = this.#stack.pop();
    if (down === undefined || down instanceof Parked) return;
    down.settle(this.#bridge.readResult(base, down));
    this.#advance();
  }

  /** It waits in an upcall, within a callback that was sent to it or within `queued`. */
  parks(upcall: Upcall, base: number, queued: Down | undefined): void {
    const top = this.#stack.at(-1);
    const down = top instanceof Parked ? undefined : (top ?? queued);
    const parked = new Parked(this);
    this.#stack.push(parked);
    this.#serve(parked, upcall, base, down);
  }

  #serve(parked: Parked, upcall: Upcall, base: number, down: Down | undefined): void {
    const answer = (reply: Awaited<Answered>) => {
      parked.answer = answerOf(reply);
      this.#advance();
    };
    const logName = down?.call.logName;
    const fail = (error: unknown) => {
      if (down !== undefined) down.below = saidBy(error);
      parked.answer = failureOf(this.#bridge.report(error, logName));
      this.#advance();
    };
    try {
      // It may have been found while another client was served.
      const result = speakOf(logName ?? "", () =>
        this.#bridge.dispatch(parked, upcall, base, down?.call.args),
      );
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
      if (next !== undefined) this.#start(next);
    } else if (top instanceof Parked) {
      const next = top.queue.shift();
      if (next !== undefined) {
        this.#start(next);
      } else if (top.answer !== undefined) {
        top.active = false;
        this.#stack.pop();
        takeBack(top.lent);
        this.#bridge.sendAnswer(this.slot, top.answer);
      }
    }
  }
}
