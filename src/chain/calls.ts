/**
 * The calls that one caller makes of a layer: they are under way until the layer answers. A layer has to wait for what
 * it asks of the layer below, so each call keeps the `next` that the layer got for it.
 */
import { isPromise, promiseOf } from "../api/awaitable.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import type { Errno } from "../lib/errno.ts";
import { NbdError } from "../lib/errors.ts";
import { logFailure, mustKeep, unfinished, wrongAnswer } from "./failure.ts";
import type { Layer, LayerContext } from "./layer.ts";
import type { Link } from "./link.ts";
import { codeOf, countUnderWay, runAs } from "./running.ts";
import { turnTime } from "./turn-time.ts";

/** A seam, as its parts see it: for whom the layer is called, and what the layer gets as its context. */
export interface Caller extends LayerContext {
  /** One object for the layer in this connection, whichever seam leads there. */
  readonly state: { readonly link: Link };
  /** The filter that has this as its `next`, if it has it for one call only. */
  readonly user: Layer | undefined;
  readonly calls: Calls;
  /** The layer below, for the call that is made now. */
  readonly next: Caller | undefined;
  /** Refuse all calls from now on: the call that `user` had this for has ended. */
  retire(): void;
}

/** A call that a layer answers later. */
export interface Call {
  readonly method: string;
  /** The range; both are 0 for a method without one. */
  readonly count: number;
  readonly offset: bigint;
  /** What the layer got as `next` for this call. It waits for the calls that are under way there. */
  readonly next: Caller | undefined;
  /** The promise that the caller got; undefined until it is made. */
  answer: Promise<unknown> | undefined;
  /** When it began, by `turnTime`. */
  readonly since: number;
  /** What the watchdog knows it by. */
  readonly code: number;
  /** Its index among the calls. */
  place: number;
}

/** All callers with calls that are under way. */
export const busyCalls = new Set<Calls>();

const none: readonly Call[] = [];

export class Calls {
  readonly caller: Caller;
  /** Whether a call is under way. */
  isBusy = false;
  /** The calls that are under way. */
  #all: Call[] | undefined;
  #idle: PromiseWithResolvers<void> | undefined;
  /** What the layer gets as `next` for its next call, and keeps until it has answered that call. */
  lent: Caller | undefined;
  /** More of these, for reuse. */
  #spare: Caller[] | undefined;

  constructor(caller: Caller) {
    this.caller = caller;
  }

  get all(): readonly Call[] {
    return this.#all ?? none;
  }

  /** Whether the layer below has answered all that this layer asked of it in the call that has just ended. */
  get isDone(): boolean {
    const lent = this.lent;
    return lent === undefined || !lent.calls.isBusy;
  }

  // ---- what the layer gets as `next`

  /** A `next` that no call under way uses. Calls that are answered at once share one. */
  freeNext(): Caller | undefined {
    const lent = this.lent;
    if (lent !== undefined && !lent.calls.isBusy) return lent;
    const spare = this.#spare?.pop();
    if (spare === undefined || spare.calls.isBusy) return undefined;
    this.lent = spare;
    return spare;
  }

  /** The layer keeps what it got as `next`, for work that belongs to no call: `prepare`. */
  giveNext(): void {
    this.lent = undefined;
  }

  // ---- calls of the layer

  /** Call the layer for a request without data. */
  run(
    method: string,
    count: number,
    offset: bigint,
    call: () => Awaitable<void>,
  ): void | Promise<void> {
    let result: unknown;
    try {
      result = runAs(this.caller.state.link.number, method, call);
    } catch (error) {
      return this.threw(error, method, count, offset);
    }
    if (result === undefined && this.isDone) return undefined;
    return this.answered(result, method, count, offset);
  }

  /** Call the layer for anything but a request. What it throws stays as it is. */
  ask<T>(method: string, call: () => Awaitable<T>): Awaitable<T> {
    let result: Awaitable<T>;
    try {
      result = runAs(this.caller.state.link.number, method, call);
    } catch (error) {
      return this.#threw(error, method, 0, 0n);
    }
    if (isPromise(result)) return this.#later(result, method);
    return this.isDone ? result : this.#unfinished(this.#begin(method, 0, 0n));
  }

  /** The layer's method for a request threw at once. */
  threw(error: unknown, method: string, count: number, offset: bigint): Promise<never> {
    return this.#threw(this.#failure(error, method), method, count, offset);
  }

  /** The layer's method for a request returned. It may only return undefined, or a promise of it. */
  answered(
    result: unknown,
    method: string,
    count: number,
    offset: bigint,
    buf?: Uint8Array,
  ): void | Promise<void> {
    if (isPromise(result)) {
      const call = this.#begin(method, count, offset);
      const settled = promiseOf(result).then(
        (answer) => {
          if (call.next?.calls.isBusy === true) return this.#unfinished(call);
          this.#end(call);
          return this.#check(answer, method, count, buf);
        },
        (error: unknown) => this.#failed(this.#failure(error, method), call),
      );
      call.answer = settled;
      return settled;
    }
    if (!this.isDone) return this.#unfinished(this.#begin(method, count, offset));
    return this.#check(result, method, count, buf);
  }

  /** Count a request that may take several calls as one that is under way. */
  whole(
    method: string,
    count: number,
    offset: bigint,
    result: void | Promise<void>,
  ): void | Promise<void> {
    return result === undefined ? undefined : this.#whole(method, count, offset, result);
  }

  #whole(method: string, count: number, offset: bigint, result: Promise<void>): Promise<void> {
    if (this.#all?.at(-1)?.answer === result) return result;
    const lent = this.lent;
    const call = this.#add(method, count, offset, lent);
    if (lent?.calls.isBusy === true) this.lent = undefined;
    const end = (): void => this.#remove(call);
    result.then(end, end);
    call.answer = result;
    return result;
  }

  // ---- helpers

  #failure(error: unknown, method: string): unknown {
    const { connection, state } = this.caller;
    return state.link.failure(error, method, connection);
  }

  #check(answer: unknown, method: string, count: number, buf: Uint8Array | undefined): void {
    const { link } = this.caller.state;
    if (answer !== undefined) throw wrongAnswer(link.layer.name, method, answer);
    if (buf !== undefined) mustKeep(buf, count, link.layer.name, method);
  }

  #later<T>(result: Promise<T>, method: string): Promise<T> {
    const call = this.#begin(method, 0, 0n);
    const settled = promiseOf(result).then(
      (answer) => {
        if (call.next?.calls.isBusy === true) return this.#unfinished(call);
        this.#end(call);
        return answer;
      },
      (error: unknown) => this.#failed(error, call),
    );
    call.answer = settled;
    return settled;
  }

  #threw(error: unknown, method: string, count: number, offset: bigint): Promise<never> {
    if (this.isDone) throw error;
    return this.#wait(this.#begin(method, count, offset), error);
  }

  #failed(failure: unknown, call: Call): Promise<never> {
    if (call.next?.calls.isBusy === true) return this.#wait(call, failure);
    this.#end(call);
    throw failure;
  }

  /** The layer has answered, but did not wait for what it asked of the layer below. */
  #unfinished(call: Call): Promise<never> {
    const { connection, state } = this.caller;
    const all = call.next?.calls.all ?? none;
    const below = `next.${all.at(-1)?.method ?? call.method}`;
    // The layer does not wait for these errors, so they would be lost.
    const report = (error: unknown): void =>
      logFailure(state.link.failure(error, call.method, connection), connection.logName);
    for (const { answer } of all) answer?.then(undefined, report);
    return this.#wait(call, unfinished(state.link.layer.name, call.method, below));
  }

  /** Fail the call when the layer below has answered: until then that layer may use the memory of the request. */
  async #wait(call: Call, failure: unknown): Promise<never> {
    const { next } = call;
    if (next !== undefined) {
      next.retire();
      await next.calls.#settled();
    }
    this.#remove(call);
    throw failure;
  }

  /** The layer answers later. It keeps what it got as `next` until then. */
  #begin(method: string, count: number, offset: bigint): Call {
    const next = this.lent;
    this.lent = undefined;
    return this.#add(method, count, offset, next);
  }

  #end(call: Call): void {
    this.#remove(call);
    const { next } = call;
    if (next === undefined || this.caller.thread !== undefined) return;
    if (this.lent === undefined) this.lent = next;
    else (this.#spare ??= []).push(next);
  }

  #add(method: string, count: number, offset: bigint, next: Caller | undefined): Call {
    const all = (this.#all ??= []);
    const place = all.length;
    const code = codeOf(this.caller.state.link.number, method);
    const since = turnTime();
    const call: Call = { method, count, offset, next, answer: undefined, since, code, place };
    this.isBusy = true;
    if (place === 0) busyCalls.add(this);
    countUnderWay(code, 1);
    all.push(call);
    return call;
  }

  #remove(call: Call): void {
    const all = this.#all ?? [];
    countUnderWay(call.code, -1);
    const last = all.pop();
    if (last !== undefined && last !== call) {
      all[call.place] = last;
      last.place = call.place;
    }
    if (all.length > 0) return;
    this.isBusy = false;
    busyCalls.delete(this);
    this.#idle?.resolve();
  }

  /** Resolves when no call is under way. */
  async #settled(): Promise<void> {
    while (this.isBusy) {
      this.#idle ??= Promise.withResolvers();
      await this.#idle.promise;
      this.#idle = undefined;
    }
  }
}

/** Resolves when the layer has answered all calls that are under way now, by any caller. */
export async function presentAnswers(state: Caller["state"]): Promise<void> {
  const answers: Call["answer"][] = [];
  for (const { all, caller } of busyCalls) {
    if (caller.state === state) answers.push(...all.map(({ answer }) => answer));
  }
  await Promise.allSettled(answers);
}

/** A plugin's error if it says that it can do what it has no method for. Its other methods have defaults. */
const lacking: Readonly<Record<string, Errno | undefined>> = {
  pwrite: "EROFS",
  flush: "EINVAL",
  trim: "EINVAL",
};

/** The layer below, for a `method` that this layer lacks. */
export function layerBelow({ next, state }: Caller, method: string): Caller {
  if (next !== undefined) return next;
  const errno = lacking[method];
  if (errno === undefined) throw nothingBelow(state.link.layer);
  throw new NbdError(errno, `${state.link.layer.name}: the plugin has no ${method}`);
}

export function nothingBelow({ name }: Layer): NbdError {
  return new NbdError("EIO", `${name}: there is no layer below`);
}
