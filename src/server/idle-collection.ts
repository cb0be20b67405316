/**
 * Gives memory back to the system after a burst. JavaScriptCore collects when something is allocated, or when a long
 * timer of its own fires: what clients of a burst needed would stay until then.
 */
import { log } from "../lib/log.ts";
import { leastGrowth, memoryLookMs, mostBusyLooks, mostCollections } from "./limits.ts";

/** What is asked and done, so that tests can watch it. */
export interface Collecting {
  /** Bytes of memory that the process has. */
  readonly resident: () => number;
  readonly collect: () => void;
}

const real: Collecting = {
  resident: () => process.memoryUsage.rss(),
  // Not in steps: what was collected is given to the system by this form only.
  // Bun.gc(false) only asks for a collection, and the memory stays for another ten seconds.
  collect: () => Bun.gc(true),
};

/** Collects once when the clients become quiet, or after some left, if others do not. A quiet server has no timer. */
export class IdleCollection {
  readonly #collecting: Collecting;
  readonly #start: (tick: () => void) => Disposable;
  #timer: Disposable | undefined;
  /** Something happened since the last look. */
  #active = false;
  /** A client left since the last collection, or since clients were quiet. */
  #clientLeft = false;
  /** Looks in a row at which clients were active. */
  #busyLooks = 0;
  #quietLooks = 0;
  /**
   * Bytes in use before the first client, or after the last collection. It does not rise without a collection, so that
   * many small growths do not add up.
   */
  #level: number | undefined;

  constructor(collecting = real, start = everySecond) {
    this.#collecting = collecting;
    this.#start = start;
  }

  /** A client sent or took something. */
  active(): void {
    this.#active = true;
    if (this.#timer !== undefined) return;
    this.#level ??= this.#collecting.resident();
    this.#busyLooks = 0;
    this.#quietLooks = 0;
    this.#timer = this.#start(() => this.#look());
  }

  left(): void {
    this.#clientLeft = true;
    this.active();
  }

  #look(): void {
    if (this.#active) {
      this.#active = false;
      this.#quietLooks = 0;
      this.#busyLooks++;
      if (this.#busyLooks < mostBusyLooks || !this.#clientLeft) return;
      this.#busyLooks = 0;
      this.#clientLeft = false;
      this.#collect();
      return;
    }
    this.#quietLooks++;
    if (this.#collect()) {
      if (this.#quietLooks < mostCollections) return;
      // What is still there is in use.
      this.#level = this.#collecting.resident();
    }
    this.#clientLeft = false;
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  /** Returns whether there was something to collect. */
  #collect(): boolean {
    const before = this.#collecting.resident();
    const level = this.#level ?? before;
    if (before < level + Math.max(leastGrowth.bytes, level * leastGrowth.share)) return false;
    const start = performance.now();
    this.#collecting.collect();
    const ms = Math.round(performance.now() - start);
    const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20);
    const after = this.#collecting.resident();
    log.debug(`collected memory: ${mebibytes(before)} to ${mebibytes(after)} MiB in ${ms} ms`);
    return true;
  }
}

function everySecond(tick: () => void): Disposable {
  const timer = setInterval(tick, memoryLookMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
