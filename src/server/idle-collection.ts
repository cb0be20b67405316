/**
 * Returns memory to the system after a burst. JavaScriptCore collects only when something is allocated, or when a long
 * timer of its own fires, so the memory of a burst would stay until then.
 */
import { log } from "../lib/log.ts";
import { leastGrowth, memoryLookMs, mostBusyLooks, mostCollections } from "./limits.ts";

/** What the collection uses of the process; tests replace it. */
export interface Collecting {
  /** The resident memory in bytes. */
  readonly resident: () => number;
  readonly collect: () => void;
}

const real: Collecting = {
  resident: () => process.memoryUsage.rss(),
  // Only a synchronous collection returns the memory at once. Bun.gc(false) schedules one, and the memory stays for
  // another ten seconds.
  collect: () => Bun.gc(true),
};

/**
 * Collects when clients become quiet, or some time after a client left while others stay active. A quiet server has no
 * timer.
 */
export class IdleCollection {
  readonly #collecting: Collecting;
  readonly #start: (tick: () => void) => Disposable;
  #timer: Disposable | undefined;
  /** Something has happened since the last look. */
  #active = false;
  /** A client has left since the last collection, or since clients were quiet. */
  #clientLeft = false;
  /** Looks in a row that found active clients. */
  #busyLooks = 0;
  #quietLooks = 0;
  /**
   * The memory before the first client, or after the last collection. It rises only with a collection, so that many
   * small growths add up.
   */
  #level: number | undefined;

  constructor(collecting = real, start = everySecond) {
    this.#collecting = collecting;
    this.#start = start;
  }

  /** A client has sent or taken something. */
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
      // What remains is in use.
      this.#level = this.#collecting.resident();
    }
    this.#clientLeft = false;
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  /** Collect if the memory has grown enough. Returns whether it has. */
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
