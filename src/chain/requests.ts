/** Requests that neither read nor write, and FUA, for layers that lack them: nbdkit-plugin(3), nbdkit-filter(3). */
import { after } from "../api/awaitable.ts";
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
import type { Context } from "./context.ts";
import { emulateCache, emulateZero } from "./emulate.ts";
import { accept, learn, mustBePrepared, refuse } from "./rules.ts";
import { windowExtents } from "./window.ts";

export function mustAskFua({ state }: Context, flags: number): boolean {
  return (flags & FLAG_FUA) !== 0 && state.answers.canFua === undefined;
}

/** FUA by a flush afterwards is up to the layer that says "emulate", not to those that pass it on. */
export function emulatesFua({ layer, state }: Context): boolean {
  return (
    state.answers.canFua === "emulate" &&
    (layer.kind === "plugin" || (layer.canFua !== undefined && layer.takesFua !== true))
  );
}

/** As in nbdkit, a plugin is flushed even if it does not let clients flush. */
export function thenFlush(context: Context, done: Awaitable<void>): Awaitable<void> {
  return after(done, () =>
    context.layer.kind === "plugin" ? flushNow(context) : context.flush(0),
  );
}

function flushNow(context: Context): Awaitable<void> {
  const { layer } = context;
  if (log.verbose && log.datapath) context.trace("flush");
  if (layer.flush === undefined) return context.below("flush", "EINVAL").flush(0);
  return context.run("flush", 0, 0n, () => layer.flush?.(context, 0));
}

export function flush(context: Context, flags: number): Awaitable<void> {
  const { state } = context;
  if (state.answers.canFlush !== true || !state.prepared) {
    mustBePrepared(context, "flush");
    return after(context.canFlush(), (can) =>
      can ? flush(context, flags) : refuse(context, "flush, which it cannot do"),
    );
  }
  if (flags !== 0) refuse(context, `flush with flags ${flags}, which takes none`);
  return flushNow(context);
}

export function trim(
  context: Context,
  count: number,
  offset: bigint,
  flags: number,
): Awaitable<void> {
  const { layer, state } = context;
  const again = () => trim(context, count, offset, flags);
  if (state.answers.canTrim !== true || !state.fits(count, offset)) {
    return learn(context, "trim", count, offset, again);
  }
  if (flags !== 0) {
    if (mustAskFua(context, flags)) return after(context.canFua(), again);
    accept(context, "trim", flags);
    if (emulatesFua(context)) {
      return thenFlush(context, trim(context, count, offset, flags & ~FLAG_FUA));
    }
  }
  if (log.verbose && log.datapath) {
    context.trace(`trim count=${count} offset=${offset} fua=${flags & FLAG_FUA ? 1 : 0}`);
  }
  if (layer.trim === undefined) {
    return context.below("trim", "EINVAL").trim(count, state.offsetBelow(offset), flags);
  }
  return context.run("trim", count, offset, () => layer.trim?.(context, count, offset, flags));
}

export function zero(
  context: Context,
  count: number,
  offset: bigint,
  flags: number,
): Awaitable<void> {
  const { layer, state } = context;
  const can = state.answers.canZero;
  const again = () => zero(context, count, offset, flags);
  if (can === undefined || can === "none" || !state.fits(count, offset)) {
    return learn(context, "zero", count, offset, again);
  }
  if (mustAskFua(context, flags)) return after(context.canFua(), again);
  accept(context, "zero", flags);
  if (flags & FLAG_FAST_ZERO && state.answers.canFastZero !== true) {
    return after(context.canFastZero(), (fast) =>
      fast ? again() : refuse(context, "zero with FAST_ZERO, which it cannot do"),
    );
  }
  // As nbdkit: by the outermost layer that answers so, be it only what the layer below has answered.
  const emulates = can === "emulate" || (layer.kind === "plugin" && layer.zero === undefined);
  if (!emulates && flags & FLAG_FUA && emulatesFua(context)) {
    return thenFlush(context, zero(context, count, offset, flags & ~FLAG_FUA));
  }
  if (log.verbose && log.datapath) traceZero(context, count, offset, flags);
  if (emulates) {
    // Clients probe for fast zero and fall back, so this is not logged.
    if (flags & FLAG_FAST_ZERO) throw new NbdError("EOPNOTSUPP", "");
    return emulateZero(context, count, offset, flags);
  }
  if (layer.zero === undefined) {
    return context.below().zero(count, state.offsetBelow(offset), flags);
  }
  return zeroOrWrite(context, count, offset, flags);
}

function traceZero(context: Context, count: number, offset: bigint, flags: number): void {
  const bit = (flag: number) => (flags & flag ? 1 : 0);
  context.trace(
    `zero count=${count} offset=${offset} may_trim=${bit(FLAG_MAY_TRIM)} fua=${bit(FLAG_FUA)} fast=${bit(FLAG_FAST_ZERO)}`,
  );
}

/** Call the layer. If it cannot do this zero after all, write zeroes. */
function zeroOrWrite(
  context: Context,
  count: number,
  offset: bigint,
  flags: number,
): Awaitable<void> {
  const { layer } = context;
  const instead = (error: unknown): Awaitable<void> => {
    const failure = context.failure(error, "zero");
    if (failure.number !== errnos.EOPNOTSUPP || flags & FLAG_FAST_ZERO) throw failure;
    return emulateZero(context, count, offset, flags);
  };
  try {
    const call = () => layer.zero?.(context, count, offset, flags);
    const result = context.run("zero", count, offset, call);
    return result === undefined ? undefined : result.then(undefined, instead);
  } catch (error) {
    return instead(error);
  }
}

export function extents(
  context: Context,
  count: number,
  offset: bigint,
  flags: number,
  found: Extents,
): Awaitable<void> {
  const { layer, state } = context;
  const can = state.answers.canExtents;
  if (can === undefined || !state.fits(count, offset)) {
    const again = () => extents(context, count, offset, flags, found);
    return learn(context, "extents", count, offset, again);
  }
  accept(context, "extents", flags);
  if (log.verbose && log.datapath) {
    const one = flags & FLAG_REQ_ONE ? 1 : 0;
    context.trace(`extents count=${count} offset=${offset} req_one=${one}`);
  }
  if (can && layer.extents === undefined && layer.kind === "filter") {
    return layer.window === undefined
      ? context.below().extents(count, offset, flags, found)
      : windowExtents(context, count, offset, flags, found);
  }
  const done = context.run("extents", count, offset, () =>
    // A range that is not known to be a hole has to be read.
    can
      ? layer.extents?.(context, count, offset, flags, found)
      : found.add(offset, BigInt(count), 0),
  );
  return can ? after(done, () => mustTell(context, found, offset)) : done;
}

function mustTell({ layer }: Context, found: Extents, offset: bigint): void {
  if (found.count > 0 && found.covered > offset) return;
  const { kind, name } = layer;
  throw new NbdError("EINVAL", `${name}: extents: ${kind} must return at least one extent`);
}

export function cache(
  context: Context,
  count: number,
  offset: bigint,
  flags: number,
): Awaitable<void> {
  const { layer, state } = context;
  const can = state.answers.canCache;
  if (can === undefined || can === "none" || !state.fits(count, offset)) {
    return learn(context, "cache", count, offset, () => cache(context, count, offset, flags));
  }
  if (flags !== 0) refuse(context, `cache with flags ${flags}, which takes none`);
  if (log.verbose && log.datapath) context.trace(`cache count=${count} offset=${offset}`);
  if (can === "emulate") return emulateCache(context, count, offset);
  if (layer.cache === undefined) {
    if (layer.kind === "plugin") return undefined;
    return context.below().cache(count, state.offsetBelow(offset), flags);
  }
  return context.run("cache", count, offset, () => layer.cache?.(context, count, offset, flags));
}
