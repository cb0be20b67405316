/**
 * The seam: one caller's way into a layer in one connection. All calls between two layers pass through one. It checks
 * them, remembers what the layer can do, emulates what the layer lacks, and turns exceptions into errors with an errno.
 * Rules: nbdkit-plugin(3) and nbdkit-filter(3), "CALLBACKS". Where nbdkit asserts, this throws.
 */
import type { Awaitable, NextOps } from "../api/generated/methods.gen.ts";
import type { NbdError } from "../lib/errors.ts";
import type { Extents } from "../lib/extents.ts";
import { type Caller, Calls, nothingBelow } from "./calls.ts";
import { noClient } from "./connection-info.ts";
import { logFailure } from "./failure.ts";
import type { ConnectionInfo, DirectMethod, Layer, Target, Visit } from "./layer.ts";
import type { Link } from "./link.ts";
import { capabilities, type Question } from "./methods.ts";
import { resolve } from "./resolve.ts";
import { State } from "./state.ts";

class Asked {
  exportDescription(this: Seam): Awaitable<string | undefined> {
    return this.state.capabilities.exportDescription(this);
  }
}

for (const key of capabilities) {
  const value = function answer(this: Seam): unknown {
    const known = this.state.capabilities;
    return known.answers[key] ?? known.ask(this, key);
  };
  Object.defineProperty(Asked.prototype, key, { value });
}

/** A class with a method for each question. */
// The loop makes the cast true, which the compiler cannot follow.
const Questions = Asked as new () => Pick<NextOps, Question>;

export class Seam extends Questions implements Caller {
  state: State;
  /** The parked native thread that its calls are bound to, if any. */
  readonly thread: unknown;
  readonly user: Layer | undefined;
  readonly calls: Calls;
  /** The last value of `#lower`. */
  #last: Seam | undefined;

  constructor(state: State, thread?: unknown, user?: Layer) {
    super();
    this.state = state;
    this.thread = thread;
    this.user = user;
    this.calls = new Calls(this);
  }

  /** To the layer at `link`, with layers below it of its own, none of them open. */
  static to(link: Link, connection: ConnectionInfo): Seam {
    return new Seam(State.stack(link, connection, false));
  }

  /** To the layer at `link`, opened once more for a layer above it. `isShared`: on behalf of no client. */
  static async open(
    link: Link,
    readonly: boolean,
    exportName: string,
    isShared: boolean,
    visit?: Visit,
  ): Promise<Seam> {
    const connection = isShared ? undefined : visit?.connection;
    const state = State.stack(link, connection ?? noClient(), connection === undefined);
    await new Seam(state, visit?.thread).open(readonly, exportName);
    return new Seam(state);
  }

  get connection(): ConnectionInfo {
    return this.state.connection;
  }

  get handle(): unknown {
    return this.state.life.handle;
  }

  /**
   * A TypeScript filter gets another seam for each call that it answers later, so that the calls it makes there are
   * known to belong to that call. Calls that are answered at once share one.
   */
  get next(): Caller | undefined {
    return this.calls.freeNext() ?? this.#lend();
  }

  /** Calls of C layers further down run on `thread`. */
  bind(thread: unknown): Seam {
    return new Seam(this.state, thread);
  }

  target(method: DirectMethod): Target | undefined {
    return resolve(this.state, method);
  }

  retire(): void {
    this.state = this.state.retired;
  }

  // ---- requests

  pread(buf: Uint8Array, offset: bigint, flags: number): Awaitable<void> {
    const done = this.state.requests.pread(this, buf, offset, flags);
    return this.calls.whole("pread", buf.length, offset, done);
  }

  pwrite(buf: Uint8Array, offset: bigint, flags: number): Awaitable<void> {
    const done = this.state.requests.pwrite(this, buf, offset, flags);
    return this.calls.whole("pwrite", buf.length, offset, done);
  }

  flush(flags: number): Awaitable<void> {
    return this.calls.whole("flush", 0, 0n, this.state.requests.flush(this, flags));
  }

  trim(count: number, offset: bigint, flags: number): Awaitable<void> {
    const done = this.state.requests.trim(this, count, offset, flags);
    return this.calls.whole("trim", count, offset, done);
  }

  zero(count: number, offset: bigint, flags: number): Awaitable<void> {
    const done = this.state.requests.zero(this, count, offset, flags);
    return this.calls.whole("zero", count, offset, done);
  }

  extents(count: number, offset: bigint, flags: number, found: Extents): Awaitable<void> {
    const done = this.state.requests.extents(this, count, offset, flags, found);
    return this.calls.whole("extents", count, offset, done);
  }

  cache(count: number, offset: bigint, flags: number): Awaitable<void> {
    const done = this.state.requests.cache(this, count, offset, flags);
    return this.calls.whole("cache", count, offset, done);
  }

  // ---- the life of the layer and of those below it

  /** The layer opens those below it. On failure, all are closed. */
  async open(readonly: boolean, exportName: string): Promise<void> {
    const { life, link } = this.state;
    if (life.isOver) link.refuse("open, but its connection is over");
    if (readonly) this.state.capabilities.answers.canWrite = false;
    const openNext = (ro: boolean, name: string, thread = this.thread) => {
      const { below } = this.state;
      if (below === undefined || below.life.isOpen) return undefined;
      return new Seam(below, thread).open(ro, name);
    };
    const failure = await life.open(this, openNext, readonly, exportName);
    if (failure === undefined) return;
    await this.close();
    throw failure;
  }

  /** Innermost first. Below a layer that was not opened, there is nothing to prepare. */
  async prepare(): Promise<void> {
    const { life } = this.state;
    if (!life.isOpen || life.phase === "prepared") return;
    await this.#lower?.prepare();
    const readonly = this.state.capabilities.answers.canWrite === false;
    await life.prepare(this, readonly);
  }

  /** Throws the first failure when all layers have had their turn. */
  async finalize(): Promise<void> {
    const failure = await this.#finalize();
    if (failure !== undefined) throw failure;
  }

  /** Outermost first. Failures are logged. */
  async close(): Promise<void> {
    await this.state.life.close(this);
    this.state.capabilities.reset();
    // The layer may have put another one below it, or none, when it was finalized or closed.
    await this.#lower?.close();
  }

  async reopen(readonly: boolean, exportName: string): Promise<void> {
    const { life, link } = this.state;
    const bit = readonly ? 1 : 0;
    link.control(this.connection, `reopen readonly=${bit} exportname="${exportName}"`);
    if (life.isOpen) {
      await this.finalize();
      await this.close();
    }
    await this.open(readonly, exportName);
    try {
      await this.prepare();
    } catch (error) {
      await this.#finish();
      throw error;
    }
  }

  /** Finalize and close for good: a layer that has kept a seam cannot reopen it. Failures are logged. */
  async end(): Promise<void> {
    for (let it: State | undefined = this.state; it !== undefined; it = it.below) {
      it.life.isOver = true;
    }
    await this.#finish();
  }

  async openNext(readonly: boolean, exportName: string, isShared: boolean): Promise<Seam> {
    const { layer, next } = this.state.link;
    if (next === undefined) throw nothingBelow(layer);
    return Seam.open(next, readonly, exportName, isShared, this);
  }

  setNext(next: Seam | undefined): Seam | undefined {
    const { state } = this;
    const old = state.below;
    state.below = next?.state;
    return old && new Seam(old);
  }

  // ---- helpers

  /** Outermost first. Returns the first failure. */
  async #finalize(): Promise<NbdError | undefined> {
    const failure = await this.state.life.finalize(this);
    const lower = this.#lower;
    const below = lower && (await lower.#finalize());
    if (failure === undefined) return below;
    if (below !== undefined) logFailure(below, this.connection.logName);
    return failure;
  }

  async #finish(): Promise<void> {
    const failure = await this.#finalize();
    if (failure !== undefined) logFailure(failure, this.connection.logName);
    await this.close();
  }

  /** The layer below, for calls that belong to no call of this layer. */
  get #lower(): Seam | undefined {
    const { below } = this.state;
    if (below === undefined) return undefined;
    if (this.#last?.state !== below) this.#last = new Seam(below, this.thread);
    return this.#last;
  }

  #lend(): Seam | undefined {
    const { below, link } = this.state;
    if (below === undefined || link.layer.inTypeScript !== true) return this.#lower;
    const next = new Seam(below, this.thread, link.layer);
    this.calls.lent = next;
    return next;
  }
}
