/** Delay requests, to imitate a slow or remote disk. The manual is README.md, beside this file. */
import { stat } from "node:fs/promises";

import {
  type Awaitable,
  type Client,
  defineFilter,
  filePath,
  FLAG_FAST_ZERO,
  lastGiven,
  NbdError,
  param,
  sleep as realSleep,
  type Values,
} from "#api";

import { duration } from "./duration.ts";

/** Whether a file of any type with this name exists. */
export type Exists = (path: string) => Promise<boolean>;

/** On another thread: the file system may be slow. A dangling link does not count, as with access(2). */
const reallyExists: Exists = (path) =>
  stat(filePath(path)).then(
    () => true,
    () => false,
  );

/** Resolves after `ms` milliseconds, or throws ESHUTDOWN when `ended` fires. */
export type Sleep = (ms: number, ended: AbortSignal) => Promise<void>;

const params = {
  rdelay: duration("Delay reads by a number of seconds, or of ms, us or ns.", ["delay-read"]),
  wdelay: duration("Delay writes, zeroing and trims."),
  "delay-write": duration("Delay writes."),
  "delay-zero": duration("Delay zeroing."),
  "delay-trim": duration("Delay trims."),
  "delay-extents": duration("Delay block status requests."),
  "delay-cache": duration("Delay cache requests."),
  "delay-fast-zero": param.bool({
    default: true,
    help: "Delay fast zero requests, rather than fail them at once.",
  }),
  "delay-open": duration("Delay clients that connect."),
  "delay-close": duration("Delay clients that disconnect."),
  "delay-trigger": param.path({ help: "Delay only while there is a file of this name." }),
};

/** The delays of one connection, in milliseconds. */
interface Delays {
  readonly read: number;
  readonly write: number;
  readonly zero: number;
  readonly trim: number;
  readonly extents: number;
  readonly cache: number;
  readonly close: number;
  readonly refuseFastZero: boolean;
  /** Requests are only delayed while this file exists. */
  readonly trigger: string | undefined;
  readonly ended: AbortSignal;
}

function delaysOf(config: Values<typeof params>, { ended }: Client): Delays {
  const { wdelay } = config;
  const zero = lastGiven(wdelay, config["delay-zero"]) ?? 0;
  return {
    read: config.rdelay?.value ?? 0,
    write: lastGiven(wdelay, config["delay-write"]) ?? 0,
    zero,
    trim: lastGiven(wdelay, config["delay-trim"]) ?? 0,
    extents: config["delay-extents"]?.value ?? 0,
    cache: config["delay-cache"]?.value ?? 0,
    close: config["delay-close"]?.value ?? 0,
    refuseFastZero: zero > 0 && !config["delay-fast-zero"],
    trigger: config["delay-trigger"],
    ended,
  };
}

const never = new AbortController().signal;

/** Only a client that sends a disconnect request waits for the close: one that is gone cannot see it. */
function staysToTheEnd(ended: AbortSignal): boolean {
  return !ended.aborted || (ended.reason !== "gone" && ended.reason !== "stopping");
}

/** The filter with an injected clock. Each request waits on its own, and others continue meanwhile. */
export function delayFilter(sleep: Sleep, exists: Exists = reallyExists) {
  const wait = async (
    ms: number,
    { ended, trigger }: Pick<Delays, "ended" | "trigger">,
  ): Promise<void> => {
    if (trigger === undefined || (await exists(trigger))) await sleep(ms, ended);
  };

  /** Without a delay it returns the result of `go` at once, so that a synchronous chain stays synchronous. */
  const later = <T>(
    ms: number,
    delays: Pick<Delays, "ended" | "trigger">,
    go: () => Awaitable<T>,
  ): Awaitable<T> => (ms === 0 ? go() : wait(ms, delays).then(go));

  return defineFilter({
    name: "delay",
    longName: "nbdkit delay filter",
    params,
    fillsReads: true,

    async open(next, config, readonly, exportName, _isTls, client) {
      const delays = delaysOf(config, client);
      await later(config["delay-open"]?.value ?? 0, delays, () => next(readonly, exportName));
      return delays;
    },

    // Not in `close`: the layers below must stay open while a client waits for the close.
    finalize: (_next, { close, ended, trigger }) =>
      close > 0 && staysToTheEnd(ended) ? wait(close, { ended: never, trigger }) : undefined,

    canFastZero: (next, delays) => delays.refuseFastZero || next.canFastZero(),

    pread: (next, delays, buf, offset, flags) =>
      delays.read === 0
        ? next.pread(buf, offset, flags)
        : later(delays.read, delays, () => next.pread(buf, offset, flags)),

    pwrite: (next, delays, buf, offset, flags) =>
      delays.write === 0
        ? next.pwrite(buf, offset, flags)
        : later(delays.write, delays, () => next.pwrite(buf, offset, flags)),

    trim: (next, delays, count, offset, flags) =>
      later(delays.trim, delays, () => next.trim(count, offset, flags)),

    zero(next, delays, count, offset, flags) {
      if (flags & FLAG_FAST_ZERO && delays.refuseFastZero) {
        throw new NbdError("EOPNOTSUPP", "");
      }
      return later(delays.zero, delays, () => next.zero(count, offset, flags));
    },

    extents: (next, delays, count, offset, flags, extents) =>
      later(delays.extents, delays, () => next.extents(count, offset, flags, extents)),

    cache: (next, delays, count, offset, flags) =>
      later(delays.cache, delays, () => next.cache(count, offset, flags)),
  });
}

export default delayFilter(realSleep);
