/**
 * The seam: one of these stands round every layer of every connection. It alone checks states, ranges
 * and flags, remembers answers, supplies what a layer lacks, and turns exceptions into error numbers.
 * Rules: nbdkit-plugin(3) and nbdkit-filter(3), "CALLBACKS". Where nbdkit asserts, this throws.
 */
import { after, isPromise, promiseOf } from "../api/awaitable.ts";
import { FLAG_FUA } from "../api/generated/constants.gen.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import type { Errno } from "../lib/errno.ts";
import { NbdError } from "../lib/errors.ts";
import type { Extents } from "../lib/extents.ts";
import { log } from "../lib/log.ts";
import { methodName } from "./answers.ts";
import { type Call, Calls } from "./calls.ts";
import { noClient } from "./connection-info.ts";
import type { Context } from "./context.ts";
import { failureOf, logFailure, mustKeep, wrongAnswer } from "./failure.ts";
import type { ConnectionInfo, DirectMethod, Layer, Target, Visit } from "./layer.ts";
import type { Link } from "./link.ts";
import { unfinished } from "./next-function.ts";
import { closeLayers, finalizeLayers, openLayer, prepareLayers, reopenLayers } from "./opening.ts";
import { Asking } from "./questions.ts";
import * as requests from "./requests.ts";
import { resolve } from "./resolve.ts";
import { accept, learn, refuse } from "./rules.ts";
import { enter, now, PREAD, PWRITE, runAs } from "./running.ts";
import { State } from "./state.ts";

export class CheckedContext extends Asking implements Context {
  readonly layer: Layer;
  readonly connection: ConnectionInfo;
  state: State;
  readonly thread: unknown;
  /** Those that this context was asked and that have not been answered yet. */
  calls: Calls<CheckedContext> | undefined;
  /** The layer below, in the view that is bound to no thread. Only `setNext` changes it. */
  #below: CheckedContext | undefined;
  /** What a filter in TypeScript gets as `next` for the next call. */
  #lent: CheckedContext | undefined;
  /** Contexts for reuse. */
  #spare: CheckedContext[] | undefined;
  /** The view that is bound to no thread. */
  readonly #unbound: CheckedContext | undefined;
  /** The filter that has this view as its `next`, where it has it for one call only. */
  readonly user: Layer | undefined;

  constructor(
    state: State,
    below: CheckedContext | undefined,
    connection: ConnectionInfo,
    thread: unknown = undefined,
    unbound: CheckedContext | undefined = undefined,
    user: Layer | undefined = undefined,
  ) {
    super();
    this.layer = state.link.layer;
    this.#below = below;
    this.connection = connection;
    this.state = state;
    this.thread = thread;
    this.#unbound = unbound;
    this.user = user;
  }

  /** Contexts of the layer at `link` and those below it, none of them open. */
  static stack(link: Link, connection: ConnectionInfo, shared = false): CheckedContext {
    const next =
      link.next === undefined ? undefined : CheckedContext.stack(link.next, connection, shared);
    return new CheckedContext(new State(link, shared), next, connection);
  }

  /** Open the layer at `link` and those below it once more, for a layer above. `shared`: no client has a part in it. */
  static async open(
    link: Link,
    readonly: boolean,
    exportName: string,
    shared: boolean,
    visit?: Visit,
  ): Promise<CheckedContext> {
    const connection = shared ? undefined : visit?.connection;
    const stack = CheckedContext.stack(link, connection ?? noClient(), connection === undefined);
    const thread = visit?.thread;
    await openLayer(thread === undefined ? stack : stack.bind(thread), readonly, exportName);
    return stack;
  }

  get handle(): unknown {
    return this.state.handle;
  }

  get unbound(): CheckedContext {
    return this.#unbound ?? this;
  }

  /**
   * What the layer gets as `next`. A filter in TypeScript gets a view for each call that it answers later, so that the
   * calls which it makes there are known to be those of that call; calls that are answered at once share one.
   */
  get next(): CheckedContext | undefined {
    const lent = this.#lent;
    return lent !== undefined && !lent.isBusy ? lent : this.#lend();
  }

  /** The layer below, for calls that belong to no call of this layer. */
  get lower(): CheckedContext | undefined {
    const below = this.unbound.#below;
    return this.thread === undefined ? below : below?.bind(this.thread);
  }

  /** Whether it was asked for something that it has not answered yet. */
  get isBusy(): boolean {
    return this.calls !== undefined && this.calls.count > 0;
  }

  /** What the layer got as `next` is its own from now on, for work that belongs to no call: `prepare`. */
  keepNext(): void {
    this.#lent = undefined;
  }

  bind(thread: unknown): CheckedContext {
    return new CheckedContext(this.state, undefined, this.connection, thread, this.unbound);
  }

  target(method: DirectMethod): Target | undefined {
    return resolve(this, method);
  }

  // ---- for layers that open others

  reopen(readonly: boolean, exportName: string): Promise<void> {
    return reopenLayers(this, readonly, exportName);
  }

  openNext(readonly: boolean, exportName: string, shared: boolean): Promise<CheckedContext> {
    const { next } = this.state.link;
    if (next === undefined) throw this.nothingBelow();
    return CheckedContext.open(next, readonly, exportName, shared, this);
  }

  prepare(): Promise<void> {
    return prepareLayers(this);
  }

  async finalize(): Promise<void> {
    const failure = await finalizeLayers(this);
    if (failure !== undefined) throw failure;
  }

  close(): Promise<void> {
    return closeLayers(this);
  }

  setNext(next: CheckedContext | undefined): CheckedContext | undefined {
    const { unbound } = this;
    const old = unbound.#below;
    unbound.#below = next?.unbound;
    return old;
  }

  // ---- data

  pread(buf: Uint8Array, offset: bigint, flags: number): Awaitable<void> {
    const count = buf.length;
    if (!this.state.fits(count, offset)) {
      const again = () => this.pread(buf, offset, flags);
      return this.#whole("pread", count, offset, learn(this, "pread", count, offset, again));
    }
    if (flags !== 0) refuse(this, `pread with flags ${flags}, which takes none`);
    if (log.verbose && log.datapath) this.trace(`pread count=${count} offset=${offset}`);
    const { layer } = this;
    if (layer.pread === undefined) {
      const done = this.below().pread(buf, this.state.offsetBelow(offset), flags);
      return this.#whole("pread", count, offset, done);
    }
    let result: unknown;
    const before = enter(this.state.link.number, PREAD);
    try {
      result = layer.pread(this, buf, offset, flags);
      now[0] = before;
    } catch (error) {
      now[0] = before;
      return this.#threw(this.failure(error, "pread"), "pread", count, offset);
    }
    if (result === undefined && this.#isDone && buf.length === count) return undefined;
    return this.#answered(result, "pread", count, offset, buf);
  }

  pwrite(buf: Uint8Array, offset: bigint, flags: number): Awaitable<void> {
    const { layer, state } = this;
    const count = buf.length;
    if (state.answers.canWrite !== true || !this.state.fits(count, offset)) {
      const again = () => this.pwrite(buf, offset, flags);
      return this.#whole("pwrite", count, offset, learn(this, "pwrite", count, offset, again));
    }
    if (flags !== 0) {
      if (requests.mustAskFua(this, flags)) {
        const done = after(this.canFua(), () => this.pwrite(buf, offset, flags));
        return this.#whole("pwrite", count, offset, done);
      }
      accept(this, "pwrite", flags);
      if (requests.emulatesFua(this)) {
        const done = requests.thenFlush(this, this.pwrite(buf, offset, flags & ~FLAG_FUA));
        return this.#whole("pwrite", count, offset, done);
      }
    }
    if (log.verbose && log.datapath) {
      this.trace(`pwrite count=${count} offset=${offset} fua=${flags & FLAG_FUA ? 1 : 0}`);
    }
    if (layer.pwrite === undefined) {
      const done = this.below("pwrite", "EROFS").pwrite(buf, state.offsetBelow(offset), flags);
      return this.#whole("pwrite", count, offset, done);
    }
    let result: unknown;
    const before = enter(state.link.number, PWRITE);
    try {
      result = layer.pwrite(this, buf, offset, flags);
      now[0] = before;
    } catch (error) {
      now[0] = before;
      return this.#threw(this.failure(error, "pwrite"), "pwrite", count, offset);
    }
    if (result === undefined && this.#isDone && buf.length === count) return undefined;
    return this.#answered(result, "pwrite", count, offset, buf);
  }

  flush(flags: number): Awaitable<void> {
    return this.#whole("flush", 0, 0n, requests.flush(this, flags));
  }

  trim(count: number, offset: bigint, flags: number): Awaitable<void> {
    return this.#whole("trim", count, offset, requests.trim(this, count, offset, flags));
  }

  zero(count: number, offset: bigint, flags: number): Awaitable<void> {
    return this.#whole("zero", count, offset, requests.zero(this, count, offset, flags));
  }

  extents(count: number, offset: bigint, flags: number, found: Extents): Awaitable<void> {
    return this.#whole(
      "extents",
      count,
      offset,
      requests.extents(this, count, offset, flags, found),
    );
  }

  cache(count: number, offset: bigint, flags: number): Awaitable<void> {
    return this.#whole("cache", count, offset, requests.cache(this, count, offset, flags));
  }

  // ---- helpers

  /**
   * The layer below, for what this one leaves out. Only a plugin has none, and no default of a plugin asks for it: if
   * it comes here, the plugin says that it can do what it has no `method` for.
   */
  below(method?: string, errno?: Errno): CheckedContext {
    if (this.next !== undefined) return this.next;
    if (method === undefined || errno === undefined) throw this.nothingBelow();
    throw new NbdError(errno, `${this.layer.name}: the plugin has no ${method}`);
  }

  nothingBelow(): NbdError {
    return new NbdError("EIO", `${this.layer.name}: there is no layer below`);
  }

  failure(error: unknown, method: string): NbdError {
    const { layer, connection } = this;
    return failureOf(error, layer, methodName(layer, method), connection.logName);
  }

  get logName(): string {
    return this.connection.logName;
  }

  /** How messages name the layer. */
  get title(): string {
    return this.layer.name;
  }

  /** A debug line about something else than data. */
  control(message: string): void {
    if (log.verbose && log.controlpath) this.trace(message);
  }

  trace(message: string): void {
    log.debug(`${this.layer.name}: ${message}`, this.connection.logName);
  }

  /** Call the layer for a request without data. */
  run(
    method: string,
    count: number,
    offset: bigint,
    call: () => Awaitable<void>,
  ): void | Promise<void> {
    let result: unknown;
    try {
      result = runAs(this.state.link.number, method, call);
    } catch (error) {
      return this.#threw(this.failure(error, method), method, count, offset);
    }
    if (result === undefined && this.#isDone) return undefined;
    return this.#answered(result, method, count, offset);
  }

  /** Call the layer for something else than data. What it throws goes on as it is. */
  question<T>(method: string, call: () => Awaitable<T>): Awaitable<T> {
    let result: Awaitable<T>;
    try {
      result = runAs(this.state.link.number, method, call);
    } catch (error) {
      return this.#threw(error, method, 0, 0n);
    }
    if (isPromise(result)) return this.#later(result, this.#begin(method, 0, 0n));
    return this.#isDone ? result : this.#unfinished(this.#begin(method, 0, 0n));
  }

  /** Whether all that the layer has asked of the one below, in the call that has just ended, was answered. */
  get #isDone(): boolean {
    const lent = this.#lent;
    return lent === undefined || !lent.isBusy;
  }

  /** What a request's method has returned: nothing, or a promise of it, or what it must not. */
  #answered(
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
          if (call.next?.isBusy === true) return this.#unfinished(call);
          this.#end(call);
          return this.#check(answer, method, count, buf);
        },
        (error: unknown) => this.#failed(this.failure(error, method), call),
      );
      call.answer = settled;
      return settled;
    }
    if (!this.#isDone) return this.#unfinished(this.#begin(method, count, offset));
    return this.#check(result, method, count, buf);
  }

  #check(answer: unknown, method: string, count: number, buf: Uint8Array | undefined): void {
    if (answer !== undefined) throw wrongAnswer(this.title, method, answer);
    if (buf !== undefined) mustKeep(buf, count, this.layer.name, method);
  }

  /** The layer answers later. The view that it got as `next` is its own until then. */
  #begin(method: string, count: number, offset: bigint): Call<CheckedContext> {
    const next = this.#lent;
    this.#lent = undefined;
    return (this.calls ??= new Calls<CheckedContext>(this)).begin(method, count, offset, next);
  }

  /** The answer to a question, or to what the layer is told. */
  #later<T>(result: Promise<T>, call: Call<CheckedContext>): Promise<T> {
    const settled = promiseOf(result).then(
      (answer) => {
        if (call.next?.isBusy === true) return this.#unfinished(call);
        this.#end(call);
        return answer;
      },
      (error: unknown) => this.#failed(error, call),
    );
    call.answer = settled;
    return settled;
  }

  #failed(failure: unknown, call: Call<CheckedContext>): Promise<never> {
    if (call.next?.isBusy === true) return this.#wait(call, failure);
    this.#end(call);
    throw failure;
  }

  #end(call: Call<CheckedContext>): void {
    this.calls?.end(call);
    const { next } = call;
    if (next === undefined || this.thread !== undefined) return;
    if (this.#lent === undefined) this.#lent = next;
    else (this.#spare ??= []).push(next);
  }

  /**
   * The layer has answered, but not all that it asked of the layer below for that was answered. Errors there would be
   * lost, and what is still done with the memory would meet what it is used for next: so the call ends with that.
   */
  async #wait(call: Call<CheckedContext>, failure: unknown): Promise<never> {
    const { next } = call;
    if (next !== undefined) {
      // It refuses all that comes from now on.
      next.state = next.state.retired;
      await next.calls?.idle();
    }
    this.calls?.end(call);
    throw failure;
  }

  #unfinished(call: Call<CheckedContext>): Promise<never> {
    const calls = call.next?.calls;
    const below = `next.${calls?.newest?.method ?? call.method}`;
    calls?.onFailure((error) => {
      logFailure(this.failure(error, call.method), this.connection.logName);
    });
    return this.#wait(call, unfinished(this.title, call.method, below));
  }

  /** The layer threw at once. */
  #threw(error: unknown, method: string, count: number, offset: bigint): Promise<never> {
    if (this.#isDone) throw error;
    return this.#wait(this.#begin(method, count, offset), error);
  }

  /** Count a call that may take several steps as one that is under way. */
  #whole(
    method: string,
    count: number,
    offset: bigint,
    result: void | Promise<void>,
  ): void | Promise<void> {
    if (result === undefined || this.calls?.newest?.answer === result) return result;
    const lent = this.#lent;
    const call = (this.calls ??= new Calls<CheckedContext>(this)).begin(
      method,
      count,
      offset,
      lent,
    );
    if (lent?.isBusy === true) this.#lent = undefined;
    const end = (): void => this.calls?.end(call);
    result.then(end, end);
    call.answer = result;
    return result;
  }

  #lend(): CheckedContext | undefined {
    const { layer, thread, unbound } = this;
    const below = unbound.#below;
    if (below === undefined || layer.inTypeScript !== true) return this.lower;
    const spare = this.#spare?.pop();
    if (spare !== undefined && !spare.isBusy) return (this.#lent = spare);
    const { connection, state } = below;
    return (this.#lent = new CheckedContext(state, undefined, connection, thread, below, layer));
  }
}
