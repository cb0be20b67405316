/**
 * The seam: one of these stands round every layer of every connection. It alone checks states, ranges
 * and flags, remembers answers, supplies what a layer lacks, and turns exceptions into error numbers.
 * Rules: nbdkit-plugin(3) and nbdkit-filter(3), "CALLBACKS". Where nbdkit asserts, this throws.
 */
import { FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, supports } from "#abi/generated/constants.gen";
import type { Awaitable, Support } from "#abi/generated/methods.gen";

import { after, isPromise, promiseOf } from "../api/awaitable.ts";
import { NbdError } from "../api/errors.ts";
import { errnos } from "../lib/errno.ts";
import { log } from "../lib/log.ts";
import { emulateCache, emulateZero } from "./emulate.ts";
import { failureOf } from "./failure.ts";
import type { ConnectionInfo, Layer, LayerContext } from "./layer.ts";
import { type Answers, State } from "./state.ts";

const underWrite = FLAG_FUA;
const underZero = FLAG_FUA | FLAG_MAY_TRIM | FLAG_FAST_ZERO;

export class Context implements LayerContext {
  readonly layer: Layer;
  readonly next: Context | undefined;
  readonly connection: ConnectionInfo;
  readonly state: State;
  readonly thread: unknown;

  constructor(
    layer: Layer,
    next: Context | undefined,
    connection: ConnectionInfo,
    state: State = new State(),
    thread: unknown = undefined,
  ) {
    this.layer = layer;
    this.next = next;
    this.connection = connection;
    this.state = state;
    this.thread = thread;
  }

  get handle(): unknown {
    return this.state.handle;
  }

  bind(thread: unknown): Context {
    return new Context(this.layer, this.next?.bind(thread), this.connection, this.state, thread);
  }

  // ---- what the layer can do

  getSize(): Awaitable<bigint> {
    return this.ask("getSize", "get_size", () => {
      const { layer, next } = this;
      const answer = layer.getSize === undefined ? this.below(next).getSize() : layer.getSize(this);
      return after(answer, (size) => {
        if (typeof size !== "bigint" || size < 0n || size > 0x7fffffffffffffffn) {
          throw new NbdError("EIO", `${layer.name}: get_size returned ${size}, not 0 to 2^63-1`);
        }
        this.state.exactSize = size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : -1;
        return size;
      });
    });
  }

  canWrite(): Awaitable<boolean> {
    return this.boolean("canWrite", "can_write", (plugin) => plugin.pwrite !== undefined);
  }

  canFlush(): Awaitable<boolean> {
    return this.boolean("canFlush", "can_flush", (plugin) => plugin.flush !== undefined);
  }

  isRotational(): Awaitable<boolean> {
    return this.boolean("isRotational", "is_rotational", () => false);
  }

  canTrim(): Awaitable<boolean> {
    return this.ifWritable("canTrim", false, () =>
      this.boolean("canTrim", "can_trim", (plugin) => plugin.trim !== undefined),
    );
  }

  canZero(): Awaitable<Support> {
    return this.ifWritable<"canZero">("canZero", "none", () =>
      this.support("canZero", "can_zero", (plugin) =>
        plugin.zero === undefined ? "emulate" : "native",
      ),
    );
  }

  canFastZero(): Awaitable<boolean> {
    return this.ifWritable("canFastZero", false, () =>
      after(this.canZero(), (zero) =>
        zero === "none"
          ? false
          : this.boolean("canFastZero", "can_fast_zero", (plugin) => plugin.zero === undefined),
      ),
    );
  }

  canFua(): Awaitable<Support> {
    return this.ifWritable<"canFua">("canFua", "none", () =>
      this.support("canFua", "can_fua", (plugin) =>
        plugin.flush === undefined ? "none" : "emulate",
      ),
    );
  }

  canMultiConn(): Awaitable<boolean> {
    return this.boolean("canMultiConn", "can_multi_conn", () => false);
  }

  canCache(): Awaitable<Support> {
    return this.support("canCache", "can_cache", (plugin) =>
      plugin.cache === undefined ? "none" : "native",
    );
  }

  // ---- data

  pread(buf: Uint8Array, offset: bigint, flags: number): Awaitable<void> {
    if (!this.fits(buf.length, offset)) {
      return this.learn("pread", buf.length, offset, () => this.pread(buf, offset, flags));
    }
    if (flags !== 0) this.refuse(`pread with flags ${flags}, which takes none`);
    if (log.verbose) this.trace(`pread count=${buf.length} offset=${offset}`);
    const { layer } = this;
    if (layer.pread === undefined) return this.below(this.next).pread(buf, offset, flags);
    try {
      const result = layer.pread(this, buf, offset, flags);
      return isPromise(result) ? this.later(result, "pread") : undefined;
    } catch (error) {
      throw this.failure(error, "pread");
    }
  }

  pwrite(buf: Uint8Array, offset: bigint, flags: number): Awaitable<void> {
    const { layer, state } = this;
    if (state.answers.canWrite !== true || !this.fits(buf.length, offset)) {
      return this.learn("pwrite", buf.length, offset, () => this.pwrite(buf, offset, flags));
    }
    if (flags !== 0) {
      if (this.mustAskFua(flags))
        return after(this.canFua(), () => this.pwrite(buf, offset, flags));
      this.accept("pwrite", flags, underWrite);
      const plain = flags & ~FLAG_FUA;
      if (this.emulatesFua()) return this.thenFlush(this.pwrite(buf, offset, plain));
    }
    if (log.verbose) {
      this.trace(`pwrite count=${buf.length} offset=${offset} fua=${flags & FLAG_FUA ? 1 : 0}`);
    }
    if (layer.pwrite === undefined) return this.below(this.next).pwrite(buf, offset, flags);
    try {
      const result = layer.pwrite(this, buf, offset, flags);
      return isPromise(result) ? this.later(result, "pwrite") : undefined;
    } catch (error) {
      throw this.failure(error, "pwrite");
    }
  }

  flush(flags: number): Awaitable<void> {
    const { layer, state } = this;
    if (state.answers.canFlush !== true || !state.prepared) {
      this.mustBeOpen("flush");
      return after(this.canFlush(), (can) =>
        can ? this.flush(flags) : this.refuse("flush, which it cannot do"),
      );
    }
    if (flags !== 0) this.refuse(`flush with flags ${flags}, which takes none`);
    if (log.verbose) this.trace("flush");
    if (layer.flush === undefined) return this.below(this.next).flush(flags);
    return this.run("flush", () => layer.flush?.(this, flags));
  }

  trim(count: number, offset: bigint, flags: number): Awaitable<void> {
    const { layer, state } = this;
    if (state.answers.canTrim !== true || !this.fits(count, offset)) {
      return this.learn("trim", count, offset, () => this.trim(count, offset, flags));
    }
    if (flags !== 0) {
      if (this.mustAskFua(flags))
        return after(this.canFua(), () => this.trim(count, offset, flags));
      this.accept("trim", flags, underWrite);
      if (this.emulatesFua()) return this.thenFlush(this.trim(count, offset, flags & ~FLAG_FUA));
    }
    if (log.verbose)
      this.trace(`trim count=${count} offset=${offset} fua=${flags & FLAG_FUA ? 1 : 0}`);
    if (layer.trim === undefined) {
      return this.below(this.next).trim(count, offset, flags);
    }
    return this.run("trim", () => layer.trim?.(this, count, offset, flags));
  }

  zero(count: number, offset: bigint, flags: number): Awaitable<void> {
    const { layer, state } = this;
    const can = state.answers.canZero;
    if (can === undefined || can === "none" || !this.fits(count, offset)) {
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
    const emulates = can === "emulate" && (layer.kind === "plugin" || layer.canZero !== undefined);
    if (!emulates && flags & FLAG_FUA && this.emulatesFua()) {
      return this.thenFlush(this.zero(count, offset, flags & ~FLAG_FUA));
    }
    if (log.verbose) {
      const bit = (flag: number) => (flags & flag ? 1 : 0);
      this.trace(
        `zero count=${count} offset=${offset} may_trim=${bit(FLAG_MAY_TRIM)} fua=${bit(FLAG_FUA)} fast=${bit(FLAG_FAST_ZERO)}`,
      );
    }
    if (emulates) {
      if (flags & FLAG_FAST_ZERO) throw new NbdError("EOPNOTSUPP", `${layer.name}: no fast zero`);
      return emulateZero(this, count, offset, flags);
    }
    if (layer.zero === undefined) {
      return this.below(this.next).zero(count, offset, flags);
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

  cache(count: number, offset: bigint, flags: number): Awaitable<void> {
    const { layer, state } = this;
    const can = state.answers.canCache;
    if (can === undefined || can === "none" || !this.fits(count, offset)) {
      return this.learn("cache", count, offset, () => this.cache(count, offset, flags));
    }
    if (flags !== 0) this.refuse(`cache with flags ${flags}, which takes none`);
    if (log.verbose) this.trace(`cache count=${count} offset=${offset}`);
    if (can === "emulate" && (layer.kind === "plugin" || layer.canCache !== undefined)) {
      return emulateCache(this, count, offset);
    }
    if (layer.cache !== undefined)
      return this.run("cache", () => layer.cache?.(this, count, offset, flags));
    if (layer.kind === "plugin") return undefined;
    return this.below(this.next).cache(count, offset, flags);
  }

  // ---- helpers

  /** The layer below; only a plugin has none, and no default of a plugin asks for it. */
  below(next: Context | undefined): Context {
    if (next === undefined)
      throw new NbdError("EIO", `${this.layer.name}: there is no layer below`);
    return next;
  }

  failure(error: unknown, method: string): NbdError {
    return failureOf(error, this.layer.name, method, this.connection.logName);
  }

  trace(message: string): void {
    log.debug(`${this.layer.name}: ${message}`, this.connection.logName);
  }

  private later(result: Promise<void>, method: string): Promise<void> {
    return promiseOf(result).then(undefined, (error: unknown) => {
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

  /** Whether the range lies within the size that is known, and the connection is ready for data. */
  private fits(count: number, offset: bigint): boolean {
    const { exactSize, prepared, answers } = this.state;
    if (!prepared || count <= 0) return false;
    if (exactSize >= 0) {
      // Exact: where `offset` is too large to be a safe integer it is also larger than the size.
      const at = Number(offset);
      return at >= 0 && at + count <= exactSize;
    }
    const size = answers.getSize;
    return size !== undefined && offset >= 0n && offset + BigInt(count) <= size;
  }

  /** Ask what was not asked yet, say what is wrong, or go on. */
  private learn(
    method: "cache" | "pread" | "pwrite" | "trim" | "zero",
    count: number,
    offset: bigint,
    go: () => Awaitable<void>,
  ): Awaitable<void> {
    this.mustBeOpen(method);
    return after(this.getSize(), (size) =>
      after(this.allowed(method), (allowed) => {
        if (!allowed) this.refuse(`${method}, which it cannot do`);
        if (this.fits(count, offset)) return go();
        return this.refuse(`${method} count=${count} offset=${offset}, outside its size (${size})`);
      }),
    );
  }

  private allowed(method: "cache" | "pread" | "pwrite" | "trim" | "zero"): Awaitable<boolean> {
    switch (method) {
      case "pread":
        return true;
      case "pwrite":
        return this.canWrite();
      case "trim":
        return this.canTrim();
      case "zero":
        return after(this.canZero(), (can) => can !== "none");
      case "cache":
        return after(this.canCache(), (can) => can !== "none");
      default:
        return method satisfies never;
    }
  }

  private mustBeOpen(method: string): void {
    const { open, prepared } = this.state;
    if (!open) this.refuse(`${method}, but it is not open`);
    if (!prepared) this.refuse(`${method}, but it is not prepared`);
  }

  private accept(method: string, flags: number, possible: number): void {
    if (flags & ~possible) this.refuse(`${method} with unknown flags ${flags & ~possible}`);
    if (flags & FLAG_FUA && this.state.answers.canFua === "none") {
      this.refuse(`${method} with FUA, which it cannot do`);
    }
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
      state.answers.canFua === "emulate" && (layer.kind === "plugin" || layer.canFua !== undefined)
    );
  }

  private thenFlush(done: Awaitable<void>): Awaitable<void> {
    return after(done, () => this.flush(0));
  }

  private ask<K extends keyof Answers>(
    key: K,
    cName: string,
    call: () => Awaitable<NonNullable<Answers[K]>>,
  ): Awaitable<NonNullable<Answers[K]>> {
    const { answers } = this.state;
    const known = answers[key];
    if (known !== undefined) return known;
    if (!this.state.open) this.refuse(`${cName}, but it is not open`);
    if (log.verbose) this.trace(cName);
    try {
      const answer = call();
      if (!isPromise(answer)) return (answers[key] = answer);
      return promiseOf(answer).then(
        (value) => (answers[key] = value),
        (error: unknown) => {
          throw this.failure(error, cName);
        },
      );
    } catch (error) {
      throw this.failure(error, cName);
    }
  }

  /** A yes or no of the layer, of the one below it, or a plugin's default. */
  private boolean(
    key: "canFastZero" | "canFlush" | "canMultiConn" | "canTrim" | "canWrite" | "isRotational",
    cName: string,
    pluginDefault: (plugin: Layer) => boolean,
  ): Awaitable<boolean> {
    return this.ask(key, cName, () => {
      const { layer } = this;
      const own = layer[key];
      if (own !== undefined) {
        return after(own.call(layer, this), (answer) => {
          if (typeof answer === "boolean") return answer;
          throw new NbdError(
            "EIO",
            `${layer.name}: ${cName} returned ${answer}, not true or false`,
          );
        });
      }
      return layer.kind === "plugin" ? pluginDefault(layer) : this.below(this.next)[key]();
    });
  }

  private support(
    key: "canCache" | "canFua" | "canZero",
    cName: string,
    pluginDefault: (plugin: Layer) => Support,
  ): Awaitable<Support> {
    return this.ask<"canCache" | "canFua" | "canZero">(key, cName, () => {
      const { layer } = this;
      const own = layer[key];
      if (own === undefined) {
        return layer.kind === "plugin" ? pluginDefault(layer) : this.below(this.next)[key]();
      }
      return after(own.call(layer, this), (answer) => {
        if (Object.hasOwn(supports, answer)) return answer;
        const words = Object.keys(supports).join(", ");
        throw new NbdError(
          "EIO",
          `${layer.name}: ${cName} returned ${answer}, not one of ${words}`,
        );
      });
    });
  }

  private ifWritable<K extends "canFastZero" | "canFua" | "canTrim" | "canZero">(
    key: K,
    otherwise: NonNullable<Answers[K]>,
    call: () => Awaitable<NonNullable<Answers[K]>>,
  ): Awaitable<NonNullable<Answers[K]>> {
    const known = this.state.answers[key];
    if (known !== undefined) return known;
    return after(this.canWrite(), (can) => (can ? call() : (this.state.answers[key] = otherwise)));
  }
}
