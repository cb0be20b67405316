/** The signals that stop the server: SIGINT, SIGTERM, SIGQUIT and SIGHUP. */
import { constants } from "node:os";

import { log } from "../lib/log.ts";
import { stopAsked } from "../lib/stopping.ts";
import { giveUp } from "./faults.ts";
import { doubledSignalMs } from "./limits.ts";

const names = ["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const;

export interface StopSignals extends Disposable {
  /** Resolves at the first signal, or when a module shuts the server down, with the reason. */
  readonly first: Promise<"signal" | "module">;
  /**
   * Resolves at the first signal. A second one ends the program at once, for when stopping hangs.
   * A repetition in the next moment does not count: on Ctrl-C the terminal signals all foreground
   * processes, and `bun run` and `npm run` also pass the signal on.
   */
  readonly signal: Promise<void>;
}

function ignore(): void {}

/**
 * Bun ignores these signals, which programs that modules start would inherit. They do not inherit
 * a handler, so the signals still end nbdkit's scripts.
 */
export function catchWriteSignals(): void {
  for (const name of ["SIGPIPE", "SIGXFSZ"]) process.on(name, ignore);
}

/** Reports stop signals until it is disposed of. */
export function stopSignals(): StopSignals {
  const first = Promise.withResolvers<"signal" | "module">();
  const signal = Promise.withResolvers<void>();
  let stopping: { readonly name: string; readonly since: number } | undefined;
  const handle = (name: (typeof names)[number]): void => {
    const now = performance.now();
    if (stopping !== undefined) {
      if (stopping.name === name && now - stopping.since < doubledSignalMs) return;
      giveUp(128 + constants.signals[name]);
    }
    stopping = { name, since: now };
    log.debug(`${name}: stopping`);
    first.resolve("signal");
    signal.resolve();
  };
  // The user has sent no signal yet, so the next one is the first.
  const asked = (): void => {
    log.debug("a module has shut the server down");
    first.resolve("module");
  };
  if (stopAsked.aborted) asked();
  else stopAsked.addEventListener("abort", asked);
  for (const name of names) process.on(name, handle);
  return {
    first: first.promise,
    signal: signal.promise,
    [Symbol.dispose]() {
      stopAsked.removeEventListener("abort", asked);
      for (const name of names) process.off(name, handle);
    },
  };
}
