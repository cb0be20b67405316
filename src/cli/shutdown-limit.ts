/** Ends a server whose layers do not answer when it has to stop. */
import { nameOf, waitedFor } from "../chain/waiting.ts";
import { log } from "../lib/log.ts";
import type { Server } from "../server/server.ts";
import { giveUp } from "./faults.ts";
import { flushMs, mostNamedCalls } from "./limits.ts";

/** What the server leaves behind when it is ended, which must be cleaned up. */
export interface Leaving {
  /** Undefined while the server starts. */
  readonly server: Server | undefined;
  /** Removes sockets, and ends the command of --run. */
  cleanUp(): void;
  /** The server only waits for the command of --run. */
  readonly waitsForCommand: boolean;
}

/** Ends the server `seconds` after `start`, unless it is disposed of before; 0 means no limit. */
export class ShutdownLimit implements Disposable {
  readonly #seconds: number;
  readonly #leaving: Leaving;
  #timer: Timer | undefined;
  /** Checks the calls that the client of -s has left behind. */
  #calls: Timer | undefined;
  #over = false;

  constructor(seconds: number, leaving: Leaving) {
    this.#seconds = seconds;
    this.#leaving = leaving;
  }

  start(): void {
    if (this.#over || this.#seconds === 0) return;
    this.#timer ??= setTimeout(() => this.#end(), this.#seconds * 1000);
  }

  /**
   * The client of -s sends no more. It may still read, so replies have no time limit, but from now
   * on each call of a layer has one.
   */
  clientLeft(): void {
    const left = performance.now();
    const ms = this.#seconds * 1000;
    const look = (): void => {
      if (this.#over || this.#timer !== undefined || ms === 0) return;
      const oldest = Math.min(...waitedFor().map(({ since }) => since));
      // Without a call the time starts again.
      const rest = Number.isFinite(oldest) ? Math.max(oldest, left) + ms - performance.now() : ms;
      if (rest <= 0) this.#end();
      else this.#calls = setTimeout(look, Math.ceil(rest));
    };
    look();
  }

  #end(): void {
    this[Symbol.dispose]();
    void end(this.#seconds, this.#leaving);
  }

  [Symbol.dispose](): void {
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#calls);
  }
}

async function end(seconds: number, leaving: Leaving): Promise<never> {
  const { server, waitsForCommand } = leaving;
  const waiting = waitedFor();
  const now = performance.now();
  for (const it of waiting.slice(0, mostNamedCalls)) {
    const past = Math.round((now - it.since) / 1000);
    log.error(`${nameOf(it)} has not been answered for ${past} s`, it.logName);
  }
  const more = waiting.length - mostNamedCalls;
  if (more > 0) log.error(`${more} more calls of layers have not been answered`);
  if (server !== undefined && waiting.length > 0) {
    const late = new Promise((resolve) => {
      setTimeout(resolve, flushMs);
    });
    await Promise.race([server.flush(), late]);
  }
  const what = waitsForCommand ? "the command of --run" : "layers";
  log.error(`ending without waiting for ${what} after ${seconds} s (--shutdown-timeout)`);
  try {
    leaving.cleanUp();
  } finally {
    giveUp(1);
  }
}
