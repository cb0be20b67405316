/**
 * The seam: one of these stands round every layer of every connection. It alone checks states, ranges
 * and flags, remembers answers, supplies what a layer lacks, and turns exceptions into error numbers.
 * Rules: nbdkit-plugin(3) and nbdkit-filter(3), "CALLBACKS". Where nbdkit asserts, this throws.
 */
import {
  FLAG_FAST_ZERO,
  FLAG_FUA,
  FLAG_MAY_TRIM,
  FLAG_REQ_ONE,
} from "#abi/generated/constants.gen";
import type { Awaitable, Support } from "#abi/generated/methods.gen";

import { after, isPromise, promiseOf } from "../api/awaitable.ts";
import { NbdError } from "../api/errors.ts";
import type { BlockSize } from "../lib/block-size.ts";
import { type Errno, errnos } from "../lib/errno.ts";
import type { Extents } from "../lib/extents.ts";
import { log } from "../lib/log.ts";
import { nobody } from "./connection-info.ts";
import { directLayer } from "./direct.ts";
import { emulateCache, emulateZero } from "./emulate.ts";
import { failureOf, mustKeep } from "./failure.ts";
import type { ConnectionInfo, Direct, DirectMethod, Layer, LayerContext, Visit } from "./layer.ts";
import type { Link } from "./link.ts";
import { closeLayers, finalizeLayers, openLayer, prepareLayers, reopenLayers } from "./opening.ts";
import {
  askAllowed,
  askBlockSize,
  askBoolean,
  askDescription,
  askFastZero,
  askSize,
  askSupport,
  type DataMethod,
  ifWritable,
} from "./questions.ts";
import { State } from "./state.ts";

const underWrite = FLAG_FUA;
const underExtents = FLAG_REQ_ONE;
const underZero = FLAG_FUA | FLAG_MAY_TRIM | FLAG_FAST_ZERO;

const nothing: Uint8Array = new Uint8Array(0);

export class Context implements LayerContext {
  readonly layer: Layer;
  readonly connection: ConnectionInfo;
  readonly state: State;
  readonly thread: unknown;
  /** Only `setNext` changes it. */
  next: Context | undefined;
  /** The view that is bound to no thread. */
  readonly #unbound: Context | undefined;

  constructor(
    state: State,
    next: Context | undefined,
    connection: ConnectionInfo,
    thread: unknown = undefined,
    unbound: Context | undefined = undefined,
  ) {
    this.layer = state.link.layer;
    this.next = next;
    this.connection = connection;
    this.state = state;
    this.thread = thread;
    this.#unbound = unbound;
  }

  /** Contexts of the layer at `link` and those below it, none of them open. */
  static stack(link: Link, connection: ConnectionInfo, shared = false): Context {
    const next = link.next === undefined ? undefined : Context.stack(link.next, connection, shared);
    return new Context(new State(link, shared), next, connection);
  }

  /** Open the layer at `link` and those below it once more, for a layer above. `shared`: no client has a part in it. */
  static async open(
    link: Link,
    readonly: boolean,
    exportName: string,
    shared: boolean,
    visit?: Visit,
  ): Promise<Context> {
    const connection = shared ? undefined : visit?.connection;
    const stack = Context.stack(link, connection ?? nobody(), connection === undefined);
    const thread = visit?.thread;
    await openLayer(thread === undefined ? stack : stack.bind(thread), readonly, exportName);
    return stack;
  }

  get handle(): unknown {
    return this.state.handle;
  }

  get unbound(): Context {
    return this.#unbound ?? this;
  }

  bind(thread: unknown): Context {
    const next = this.next?.bind(thread);
    return new Context(this.state, next, this.connection, thread, this.unbound);
  }

  direct(method: DirectMethod): Direct | undefined {
    return directLayer(this, method);
  }

  // ---- for layers that open others

  reopen(readonly: boolean, exportName: string): Promise<void> {
    return reopenLayers(this, readonly, exportName);
  }

  openNext(readonly: boolean, exportName: string, shared: boolean): Promise<Context> {
    const { next } = this.state.link;
    if (next === undefined) throw this.nothingBelow();
    return Context.open(next, readonly, exportName, shared, this);
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

  setNext(next: Context | undefined): Context | undefined {
    const { unbound, thread } = this;
    const old = unbound.next;
    unbound.next = next?.unbound;
    if (unbound !== this) this.next = next?.unbound.bind(thread);
    return old;
  }

  // ---- what the layer can do

  getSize(): Awaitable<bigint> {
    return this.state.answers.getSize ?? askSize(this);
  }

  exportDescription(): Awaitable<string | undefined> {
    return askDescription(this);
  }

  blockSize(): Awaitable<BlockSize> {
    return askBlockSize(this);
  }

  canWrite(): Awaitable<boolean> {
    return askBoolean(this, "canWrite");
  }

  canFlush(): Awaitable<boolean> {
    return askBoolean(this, "canFlush");
  }

  isRotational(): Awaitable<boolean> {
    return askBoolean(this, "isRotational");
  }

  canTrim(): Awaitable<boolean> {
    return ifWritable(this, "canTrim", false, () => askBoolean(this, "canTrim"));
  }

  canZero(): Awaitable<Support> {
    return ifWritable<"canZero">(this, "canZero", "none", () => askSupport(this, "canZero"));
  }

  canFastZero(): Awaitable<boolean> {
    return askFastZero(this);
  }

  canExtents(): Awaitable<boolean> {
    return askBoolean(this, "canExtents");
  }

  canFua(): Awaitable<Support> {
    return ifWritable<"canFua">(this, "canFua", "none", () => askSupport(this, "canFua"));
  }

  canMultiConn(): Awaitable<boolean> {
    return askBoolean(this, "canMultiConn");
  }

  canCache(): Awaitable<Support> {
    return askSupport(this, "canCache");
  }

  // ---- data

  pread(buf: Uint8Array, offset: bigint, flags: number): Awaitable<void> {
    const count = buf.length;
    if (!this.state.fits(count, offset)) {
      return this.learn("pread", count, offset, () => this.pread(buf, offset, flags));
    }
    if (flags !== 0) this.refuse(`pread with flags ${flags}, which takes none`);
    if (log.verbose && log.datapath) this.trace(`pread count=${count} offset=${offset}`);
    const { layer } = this;
    if (layer.pread === undefined) return this.below().pread(buf, offset, flags);
    try {
      const result = layer.pread(this, buf, offset, flags);
      if (isPromise(result)) return this.later(result, "pread", buf, count);
      return mustKeep(buf, count, layer.name, "pread");
    } catch (error) {
      throw this.failure(error, "pread");
    }
  }

  pwrite(buf: Uint8Array, offset: bigint, flags: number): Awaitable<void> {
    const { layer, state } = this;
    const count = buf.length;
    if (state.answers.canWrite !== true || !this.state.fits(count, offset)) {
      return this.learn("pwrite", count, offset, () => this.pwrite(buf, offset, flags));
    }
    if (flags !== 0) {
      if (this.mustAskFua(flags))
        return after(this.canFua(), () => this.pwrite(buf, offset, flags));
      this.accept("pwrite", flags, underWrite);
      const plain = flags & ~FLAG_FUA;
      if (this.emulatesFua()) return this.thenFlush(this.pwrite(buf, offset, plain));
    }
    if (log.verbose && log.datapath) {
      this.trace(`pwrite count=${count} offset=${offset} fua=${flags & FLAG_FUA ? 1 : 0}`);
    }
    if (layer.pwrite === undefined) return this.below("pwrite", "EROFS").pwrite(buf, offset, flags);
    try {
      const result = layer.pwrite(this, buf, offset, flags);
      if (isPromise(result)) return this.later(result, "pwrite", buf, count);
      return mustKeep(buf, count, layer.name, "pwrite");
    } catch (error) {
      throw this.failure(error, "pwrite");
    }
  }

  flush(flags: number): Awaitable<void> {
    const { layer, state } = this;
    if (state.answers.canFlush !== true || !state.prepared) {
      this.mustBePrepared("flush");
      return after(this.canFlush(), (can) =>
        can ? this.flush(flags) : this.refuse("flush, which it cannot do"),
      );
    }
    if (flags !== 0) this.refuse(`flush with flags ${flags}, which takes none`);
    return this.flushNow(layer);
  }

  trim(count: number, offset: bigint, flags: number): Awaitable<void> {
    const { layer, state } = this;
    if (state.answers.canTrim !== true || !this.state.fits(count, offset)) {
      return this.learn("trim", count, offset, () => this.trim(count, offset, flags));
    }
    if (flags !== 0) {
      if (this.mustAskFua(flags))
        return after(this.canFua(), () => this.trim(count, offset, flags));
      this.accept("trim", flags, underWrite);
      if (this.emulatesFua()) return this.thenFlush(this.trim(count, offset, flags & ~FLAG_FUA));
    }
    if (log.verbose && log.datapath)
      this.trace(`trim count=${count} offset=${offset} fua=${flags & FLAG_FUA ? 1 : 0}`);
    if (layer.trim === undefined) {
      return this.below("trim", "EINVAL").trim(count, offset, flags);
    }
    return this.run("trim", () => layer.trim?.(this, count, offset, flags));
  }

  zero(count: number, offset: bigint, flags: number): Awaitable<void> {
    const { layer, state } = this;
    const can = state.answers.canZero;
    if (can === undefined || can === "none" || !this.state.fits(count, offset)) {
      return this.learn("zero", count, offset, () => this.zero(count, offset, flags));
    }
    if (this.mustAskFua(flags)) return after(this.canFua(), () => this.zero(count, offset, flags));
    this.accept("zero", flags, underZero);
    if (flags & FLAG_FAST_ZERO && state.answers.canFastZero !== true) {
      return after(this.canFastZero(), (fast) =>
        fast
          ? this.zero(count, offset, flags)
          : this.refuse("zero with FAST_ZERO, which it cannot do"),
      );
    }
    // As nbdkit: by the outermost layer that answers so, be it only what the layer below has answered.
    const emulates = can === "emulate" || (layer.kind === "plugin" && layer.zero === undefined);
    if (!emulates && flags & FLAG_FUA && this.emulatesFua()) {
      return this.thenFlush(this.zero(count, offset, flags & ~FLAG_FUA));
    }
    if (log.verbose && log.datapath) {
      const bit = (flag: number) => (flags & flag ? 1 : 0);
      this.trace(
        `zero count=${count} offset=${offset} may_trim=${bit(FLAG_MAY_TRIM)} fua=${bit(FLAG_FUA)} fast=${bit(FLAG_FAST_ZERO)}`,
      );
    }
    if (emulates) {
      // Clients try it and do otherwise: that is no line in the log worth.
      if (flags & FLAG_FAST_ZERO) throw new NbdError("EOPNOTSUPP", "");
      return emulateZero(this, count, offset, flags);
    }
    if (layer.zero === undefined) {
      return this.below().zero(count, offset, flags);
    }
    const instead = (error: unknown): Awaitable<void> => {
      const failure = this.failure(error, "zero");
      if (failure.number !== errnos.EOPNOTSUPP || flags & FLAG_FAST_ZERO) throw failure;
      return emulateZero(this, count, offset, flags);
    };
    try {
      const result = layer.zero(this, count, offset, flags);
      return isPromise(result) ? promiseOf(result).then(undefined, instead) : undefined;
    } catch (error) {
      return instead(error);
    }
  }

  extents(count: number, offset: bigint, flags: number, extents: Extents): Awaitable<void> {
    const { layer, state } = this;
    const can = state.answers.canExtents;
    if (can === undefined || !this.state.fits(count, offset)) {
      const go = () => this.extents(count, offset, flags, extents);
      return this.learn("extents", count, offset, go);
    }
    this.accept("extents", flags, underExtents);
    if (log.verbose && log.datapath) {
      const one = flags & FLAG_REQ_ONE ? 1 : 0;
      this.trace(`extents count=${count} offset=${offset} req_one=${one}`);
    }
    // What is not known to be a hole has to be read.
    if (!can) return this.run("extents", () => extents.add(offset, BigInt(count), 0));
    if (layer.extents === undefined && layer.kind === "filter") {
      return this.below().extents(count, offset, flags, extents);
    }
    const done = this.run("extents", () => layer.extents?.(this, count, offset, flags, extents));
    return after(done, () => this.mustTell(extents, offset));
  }

  cache(count: number, offset: bigint, flags: number): Awaitable<void> {
    const { layer, state } = this;
    const can = state.answers.canCache;
    if (can === undefined || can === "none" || !this.state.fits(count, offset)) {
      return this.learn("cache", count, offset, () => this.cache(count, offset, flags));
    }
    if (flags !== 0) this.refuse(`cache with flags ${flags}, which takes none`);
    if (log.verbose && log.datapath) this.trace(`cache count=${count} offset=${offset}`);
    if (can === "emulate") {
      return emulateCache(this, count, offset);
    }
    if (layer.cache !== undefined)
      return this.run("cache", () => layer.cache?.(this, count, offset, flags));
    if (layer.kind === "plugin") return undefined;
    return this.below().cache(count, offset, flags);
  }

  // ---- helpers

  /**
   * The layer below, for what this one leaves out. Only a plugin has none, and no default of a plugin asks for it: if
   * it comes here, the plugin says that it can do what it has no `method` for.
   */
  below(method?: string, errno?: Errno): Context {
    if (this.next !== undefined) return this.next;
    if (method === undefined || errno === undefined) throw this.nothingBelow();
    throw new NbdError(errno, `${this.layer.name}: the plugin has no ${method}`);
  }

  nothingBelow(): NbdError {
    return new NbdError("EIO", `${this.layer.name}: there is no layer below`);
  }

  failure(error: unknown, method: string): NbdError {
    return failureOf(error, this.layer.name, method, this.connection.logName);
  }

  /** A debug line about something else than data. */
  control(message: string): void {
    if (log.verbose && log.controlpath) this.trace(message);
  }

  trace(message: string): void {
    log.debug(`${this.layer.name}: ${message}`, this.connection.logName);
  }

  /** `lent`: what the layer must still have when it has answered. */
  private later(result: Promise<void>, method: string, lent = nothing, count = 0): Promise<void> {
    const { name } = this.layer;
    const kept = (): void => mustKeep(lent, count, name, method);
    return promiseOf(result).then(kept, (error: unknown) => {
      throw this.failure(error, method);
    });
  }

  private run(method: string, call: () => Awaitable<void>): Awaitable<void> {
    try {
      const result = call();
      return isPromise(result) ? this.later(result, method) : undefined;
    } catch (error) {
      throw this.failure(error, method);
    }
  }

  /** Ask what was not asked yet, say what is wrong, or go on. */
  private learn(
    method: DataMethod,
    count: number,
    offset: bigint,
    go: () => Awaitable<void>,
  ): Awaitable<void> {
    this.mustBePrepared(method);
    return after(this.getSize(), (size) =>
      after(askAllowed(this, method), (allowed) => {
        if (!allowed) this.refuse(`${method}, which it cannot do`);
        if (this.state.fits(count, offset)) return go();
        return this.refuse(`${method} count=${count} offset=${offset}, outside its size (${size})`);
      }),
    );
  }

  mustBeOpen(method: string): void {
    if (!this.state.open) this.refuse(`${method}, but it is not open`);
  }

  private mustBePrepared(method: string): void {
    this.mustBeOpen(method);
    if (this.state.prepared) return;
    if (!this.connection.ended.aborted) this.refuse(`${method}, but it is not prepared`);
    // A filter's own thread has not heard yet that there is nobody left: readahead's, on every other disconnect.
    this.trace(`${method} for a client that is gone`);
    throw new NbdError("ESHUTDOWN", "");
  }

  private accept(method: string, flags: number, possible: number): void {
    if (flags & ~possible) this.refuse(`${method} with unknown flags ${flags & ~possible}`);
    if (flags & FLAG_FUA && this.state.answers.canFua === "none") {
      this.refuse(`${method} with FUA, which it cannot do`);
    }
  }

  private mustTell(extents: Extents, offset: bigint): void {
    if (extents.count > 0 && extents.covered > offset) return;
    const { kind, name } = this.layer;
    throw new NbdError("EINVAL", `${name}: extents: ${kind} must return at least one extent`);
  }

  /** The layer above broke a rule: nbdkit would abort here. */
  private refuse(what: string): never {
    throw new NbdError("EINVAL", `${this.layer.name} was asked for ${what}`);
  }

  private mustAskFua(flags: number): boolean {
    return (flags & FLAG_FUA) !== 0 && this.state.answers.canFua === undefined;
  }

  /** FUA by a flush afterwards is up to the layer that says "emulate", not to those that pass it on. */
  private emulatesFua(): boolean {
    const { layer, state } = this;
    return (
      state.answers.canFua === "emulate" &&
      (layer.kind === "plugin" || (layer.canFua !== undefined && layer.takesFua !== true))
    );
  }

  /** As in nbdkit, a plugin is flushed also where it does not let clients flush. */
  private thenFlush(done: Awaitable<void>): Awaitable<void> {
    const { layer } = this;
    return after(done, () => (layer.kind === "plugin" ? this.flushNow(layer) : this.flush(0)));
  }

  private flushNow(layer: Layer): Awaitable<void> {
    if (log.verbose && log.datapath) this.trace("flush");
    if (layer.flush === undefined) return this.below("flush", "EINVAL").flush(0);
    return this.run("flush", () => layer.flush?.(this, 0));
  }
}
