/**
 * Requests for data. The seam checks each one by the capabilities and the size that it remembers, and emulates what the
 * layer lacks: nbdkit-plugin(3), nbdkit-filter(3).
 */
import { after, isPromise } from "../api/awaitable.ts";
import { callbacks } from "../api/generated/callbacks.gen.ts";
import {
  FLAG_FAST_ZERO,
  FLAG_FUA,
  FLAG_MAY_TRIM,
  FLAG_REQ_ONE,
} from "../api/generated/constants.gen.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { errnos } from "../lib/errno.ts";
import { NbdError } from "../lib/errors.ts";
import type { Extents } from "../lib/extents.ts";
import { log } from "../lib/log.ts";
import { withType } from "./answers.ts";
import { type Caller, layerBelow } from "./calls.ts";
import type { Capabilities } from "./capabilities.ts";
import { emulateCache, emulateZero } from "./emulate.ts";
import type { Layer } from "./layer.ts";
import type { Life } from "./life.ts";
import type { Link } from "./link.ts";
import type { Request } from "./methods.ts";
import { enter, now, PREAD, PWRITE } from "./running.ts";
import { windowExtents } from "./window.ts";

/** Requests for a range. */
type DataRequest = Exclude<Request, "flush">;

/** The capability that each request needs. A layer without `canExtents` gets a default. */
const needs = {
  pread: undefined,
  pwrite: "canWrite",
  trim: "canTrim",
  zero: "canZero",
  extents: "canExtents",
  cache: "canCache",
} as const;

export class Requests {
  readonly link: Link;
  readonly layer: Layer;
  readonly life: Life;
  readonly capabilities: Capabilities;

  constructor(link: Link, life: Life, capabilities: Capabilities) {
    this.link = link;
    this.layer = link.layer;
    this.life = life;
    this.capabilities = capabilities;
  }

  pread(caller: Caller, buf: Uint8Array, offset: bigint, flags: number): Awaitable<void> {
    const { calls } = caller;
    const layer = this.layer;
    const count = buf.length;
    if (flags !== 0 || !this.#fits(count, offset)) {
      const learnt = this.#learn(caller, "pread", count, offset, flags);
      if (learnt !== undefined) return learnt.then(() => caller.pread(buf, offset, flags));
    }
    if (log.verbose && log.datapath) {
      this.link.trace(caller.connection, `pread count=${count} offset=${offset}`);
    }
    if (layer.pread === undefined) {
      return layerBelow(caller, "pread").pread(buf, this.capabilities.offsetBelow(offset), flags);
    }
    let result: unknown;
    const before = enter(this.link.number, PREAD);
    try {
      result = layer.pread(caller, buf, offset, flags);
      now[0] = before;
    } catch (error) {
      now[0] = before;
      return calls.threw(error, "pread", count, offset);
    }
    if (result === undefined && calls.isDone && buf.length === count) return undefined;
    return calls.answered(result, "pread", count, offset, buf);
  }

  pwrite(caller: Caller, buf: Uint8Array, offset: bigint, flags: number): Awaitable<void> {
    const { calls } = caller;
    const layer = this.layer;
    const capabilities = this.capabilities;
    const count = buf.length;
    if (flags !== 0 || capabilities.answers.canWrite !== true || !this.#fits(count, offset)) {
      const learnt = this.#learn(caller, "pwrite", count, offset, flags);
      if (learnt !== undefined) return learnt.then(() => caller.pwrite(buf, offset, flags));
      if (this.#emulatesFua(flags)) {
        return this.#thenFlush(caller, caller.pwrite(buf, offset, flags & ~FLAG_FUA));
      }
    }
    if (log.verbose && log.datapath) {
      const fua = bit(flags, FLAG_FUA);
      this.link.trace(caller.connection, `pwrite count=${count} offset=${offset} fua=${fua}`);
    }
    if (layer.pwrite === undefined) {
      return layerBelow(caller, "pwrite").pwrite(buf, capabilities.offsetBelow(offset), flags);
    }
    let result: unknown;
    const before = enter(this.link.number, PWRITE);
    try {
      result = layer.pwrite(caller, buf, offset, flags);
      now[0] = before;
    } catch (error) {
      now[0] = before;
      return calls.threw(error, "pwrite", count, offset);
    }
    if (result === undefined && calls.isDone && buf.length === count) return undefined;
    return calls.answered(result, "pwrite", count, offset, buf);
  }

  flush(caller: Caller, flags: number): Awaitable<void> {
    const life = this.life;
    if (this.capabilities.answers.canFlush !== true || life.phase !== "prepared") {
      life.mustBePrepared(caller, "flush");
      const can = caller.canFlush();
      if (isPromise(can)) return can.then(() => caller.flush(flags));
      if (!can) this.link.refuse("flush, which it cannot do");
    }
    this.#accept("flush", flags);
    return this.#flush(caller);
  }

  trim(caller: Caller, count: number, offset: bigint, flags: number): Awaitable<void> {
    const layer = this.layer;
    const learnt = this.#learn(caller, "trim", count, offset, flags);
    if (learnt !== undefined) return learnt.then(() => caller.trim(count, offset, flags));
    if (this.#emulatesFua(flags)) {
      return this.#thenFlush(caller, caller.trim(count, offset, flags & ~FLAG_FUA));
    }
    if (log.verbose && log.datapath) {
      const fua = bit(flags, FLAG_FUA);
      this.link.trace(caller.connection, `trim count=${count} offset=${offset} fua=${fua}`);
    }
    if (layer.trim === undefined) {
      return layerBelow(caller, "trim").trim(count, this.capabilities.offsetBelow(offset), flags);
    }
    const call = () => layer.trim?.(caller, count, offset, flags);
    return caller.calls.run("trim", count, offset, call);
  }

  zero(caller: Caller, count: number, offset: bigint, flags: number): Awaitable<void> {
    const layer = this.layer;
    const learnt = this.#learn(caller, "zero", count, offset, flags);
    if (learnt !== undefined) return learnt.then(() => caller.zero(count, offset, flags));
    // As in nbdkit, the outermost layer with this answer emulates, even if it only passed the answer on.
    const emulates =
      this.capabilities.answers.canZero === "emulate" ||
      (layer.kind === "plugin" && layer.zero === undefined);
    if (!emulates && this.#emulatesFua(flags)) {
      return this.#thenFlush(caller, caller.zero(count, offset, flags & ~FLAG_FUA));
    }
    if (log.verbose && log.datapath) this.#traceZero(caller, count, offset, flags);
    if (emulates) {
      // Clients probe for fast zero and fall back, so this is not logged.
      if (flags & FLAG_FAST_ZERO) throw new NbdError("EOPNOTSUPP", "");
      return emulateZero(caller, count, offset, flags);
    }
    if (layer.zero === undefined) {
      return layerBelow(caller, "zero").zero(count, this.capabilities.offsetBelow(offset), flags);
    }
    return this.#zeroOrWrite(caller, count, offset, flags);
  }

  extents(
    caller: Caller,
    count: number,
    offset: bigint,
    flags: number,
    found: Extents,
  ): Awaitable<void> {
    const layer = this.layer;
    const learnt = this.#learn(caller, "extents", count, offset, flags);
    if (learnt !== undefined) {
      return learnt.then(() => caller.extents(count, offset, flags, found));
    }
    if (log.verbose && log.datapath) {
      const one = bit(flags, FLAG_REQ_ONE);
      this.link.trace(caller.connection, `extents count=${count} offset=${offset} req_one=${one}`);
    }
    const can = this.capabilities.answers.canExtents;
    if (can && layer.extents === undefined && layer.kind === "filter") {
      const next = layerBelow(caller, "extents");
      return layer.window === undefined
        ? next.extents(count, offset, flags, found)
        : windowExtents(next, this.capabilities.offsetBelow(offset), count, offset, flags, found);
    }
    const done = caller.calls.run("extents", count, offset, () =>
      // A range that is not known to be a hole has to be read.
      can
        ? layer.extents?.(caller, count, offset, flags, found)
        : found.add(offset, BigInt(count), 0),
    );
    return can ? after(done, () => mustReport(layer, found, offset)) : done;
  }

  cache(caller: Caller, count: number, offset: bigint, flags: number): Awaitable<void> {
    const layer = this.layer;
    const learnt = this.#learn(caller, "cache", count, offset, flags);
    if (learnt !== undefined) return learnt.then(() => caller.cache(count, offset, flags));
    if (log.verbose && log.datapath) {
      this.link.trace(caller.connection, `cache count=${count} offset=${offset}`);
    }
    if (this.capabilities.answers.canCache === "emulate") {
      return emulateCache(caller, count, offset);
    }
    if (layer.cache === undefined) {
      if (layer.kind === "plugin") return undefined;
      return layerBelow(caller, "cache").cache(count, this.capabilities.offsetBelow(offset), flags);
    }
    const call = () => layer.cache?.(caller, count, offset, flags);
    return caller.calls.run("cache", count, offset, call);
  }

  // ---- the steps before the layer is called

  /** Whether the layer is ready for requests, and the range is known to lie within its size. */
  #fits(count: number, offset: bigint): boolean {
    return this.life.phase === "prepared" && this.capabilities.covers(count, offset);
  }

  /**
   * Ask for what the request depends on, and refuse it where the layer cannot do it. Returns a promise if the layer
   * answers later: then the request has to be made again.
   */
  #learn(
    caller: Caller,
    method: DataRequest,
    count: number,
    offset: bigint,
    flags: number,
  ): Promise<unknown> | undefined {
    const { answers } = this.capabilities;
    const need = needs[method];
    if (!isYes(method, need === undefined || answers[need]) || !this.#fits(count, offset)) {
      this.life.mustBePrepared(caller, method);
      this.#mustBeRange(method, count, offset);
      const size = caller.getSize();
      if (isPromise(size)) return size;
      const can = need === undefined || caller[need]();
      if (isPromise<unknown>(can)) return can;
      if (!isYes(method, can)) this.link.refuse(`${method}, which it cannot do`);
      if (!this.#fits(count, offset)) {
        const range = `count=${count} offset=${offset}`;
        this.link.refuse(`${method} ${range}, outside its size (${size})`);
      }
    }
    if (flags === 0) return undefined;
    if (flags & callbacks[method].flags & FLAG_FUA && answers.canFua === undefined) {
      const can = caller.canFua();
      if (isPromise(can)) return can;
    }
    this.#accept(method, flags);
    if (flags & FLAG_FAST_ZERO && answers.canFastZero !== true) {
      const can = caller.canFastZero();
      if (isPromise(can)) return can;
      if (!can) this.link.refuse("zero with FAST_ZERO, which it cannot do");
    }
    return undefined;
  }

  /** Modules without a type check may pass anything. */
  #mustBeRange(method: DataRequest, count: unknown, offset: unknown): void {
    if (typeof offset !== "bigint") {
      this.link.refuse(`${method} with an offset of ${withType(offset)}: expected a bigint`);
    }
    if (typeof count !== "number" || !Number.isSafeInteger(count)) {
      const given = method === "pread" || method === "pwrite" ? "a buffer" : "a count";
      this.link.refuse(`${method} without ${given}: its length is ${withType(count)}`);
    }
  }

  /** Refuse flags that the request cannot have. */
  #accept(method: Request, flags: number): void {
    const known = callbacks[method].flags;
    if (known === 0 && flags !== 0) {
      this.link.refuse(`${method} with flags ${flags}, which takes none`);
    }
    const unknown = flags & ~known;
    if (unknown) this.link.refuse(`${method} with unknown flags ${unknown}`);
    if (flags & FLAG_FUA && this.capabilities.answers.canFua === "none") {
      this.link.refuse(`${method} with FUA, which it cannot do`);
    }
  }

  // ---- what the layer lacks

  /** The layer that answers "emulate" has to flush after a FUA request. Layers that pass the answer on do not. */
  #emulatesFua(flags: number): boolean {
    const { canFua, kind, takesFua } = this.layer;
    return (
      (flags & FLAG_FUA) !== 0 &&
      this.capabilities.answers.canFua === "emulate" &&
      (kind === "plugin" || (canFua !== undefined && takesFua !== true))
    );
  }

  /** As in nbdkit, a plugin is flushed even if it does not let clients flush. */
  #thenFlush(caller: Caller, done: Awaitable<void>): Awaitable<void> {
    return after(done, () =>
      this.layer.kind === "plugin" ? this.#flush(caller) : caller.flush(0),
    );
  }

  #flush(caller: Caller): Awaitable<void> {
    const layer = this.layer;
    if (log.verbose && log.datapath) this.link.trace(caller.connection, "flush");
    if (layer.flush === undefined) return layerBelow(caller, "flush").flush(0);
    return caller.calls.run("flush", 0, 0n, () => layer.flush?.(caller, 0));
  }

  /** Call the layer. If it cannot zero this range after all, write zeroes. */
  #zeroOrWrite(caller: Caller, count: number, offset: bigint, flags: number): Awaitable<void> {
    const layer = this.layer;
    const instead = (error: unknown): Awaitable<void> => {
      const failure = this.link.failure(error, "zero", caller.connection);
      if (failure.number !== errnos.EOPNOTSUPP || flags & FLAG_FAST_ZERO) throw failure;
      return emulateZero(caller, count, offset, flags);
    };
    try {
      const call = () => layer.zero?.(caller, count, offset, flags);
      const result = caller.calls.run("zero", count, offset, call);
      return result === undefined ? undefined : result.then(undefined, instead);
    } catch (error) {
      return instead(error);
    }
  }

  #traceZero({ connection }: Caller, count: number, offset: bigint, flags: number): void {
    const mayTrim = bit(flags, FLAG_MAY_TRIM);
    const [fua, fast] = [bit(flags, FLAG_FUA), bit(flags, FLAG_FAST_ZERO)];
    this.link.trace(
      connection,
      `zero count=${count} offset=${offset} may_trim=${mayTrim} fua=${fua} fast=${fast}`,
    );
  }
}

/** Whether the layer takes such requests, if its answer is known. A default stands in for extents that it lacks. */
function isYes(method: DataRequest, can: unknown): boolean {
  if (can === undefined) return false;
  return method === "extents" || (can !== false && can !== "none");
}

function mustReport({ kind, name }: Layer, found: Extents, offset: bigint): void {
  if (found.count > 0 && found.covered > offset) return;
  throw new NbdError("EINVAL", `${name}: extents: ${kind} must return at least one extent`);
}

function bit(flags: number, flag: number): 0 | 1 {
  return flags & flag ? 1 : 0;
}
