/** Logs each call that a layer does not answer for a long time, once. */
import { log } from "../lib/log.ts";
import { mostNamedCalls, unansweredLookMs, unansweredMs } from "./limits.ts";
import { nameOf, waitedFor } from "./waiting.ts";

export class Unanswered {
  readonly #now: () => number;
  readonly #told = new WeakSet<object>();

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  look(): void {
    const now = this.#now();
    const late = waitedFor().filter(
      ({ call, since }) => now - since >= unansweredMs && !this.#told.has(call),
    );
    for (const it of late) this.#told.add(it.call);
    for (const it of late.slice(0, mostNamedCalls)) {
      const seconds = Math.floor((now - it.since) / 1000);
      log.error(`${nameOf(it)} has not been answered for ${seconds} s`, it.logName);
    }
    const more = late.length - mostNamedCalls;
    if (more > 0) log.error(`${more} more calls of layers have not been answered`);
  }
}

/** Look at the calls from now on, until the result is disposed of. */
export function watchUnanswered(): Disposable {
  const unanswered = new Unanswered();
  const timer = setInterval(() => unanswered.look(), unansweredLookMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
