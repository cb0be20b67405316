/** Logs calls of layers that are not answered for long, each once. */
import { log } from "../lib/log.ts";
import { nameOf, waitedFor } from "./waiting.ts";

const limitMs = 30_000;
const everyMs = 5000;
/** More calls at one look are counted, not named. */
const mostNamed = 10;

export class Unanswered {
  readonly #now: () => number;
  readonly #told = new WeakSet<object>();

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  look(): void {
    const now = this.#now();
    const late = waitedFor().filter(
      ({ call, since }) => now - since >= limitMs && !this.#told.has(call),
    );
    for (const it of late) this.#told.add(it.call);
    for (const it of late.slice(0, mostNamed)) {
      const seconds = Math.floor((now - it.since) / 1000);
      log.error(`${nameOf(it)} has not been answered for ${seconds} s`, it.logName);
    }
    const more = late.length - mostNamed;
    if (more > 0) log.error(`${more} more calls of layers have not been answered`);
  }
}

/** Look from now on, until it is disposed of. */
export function watchUnanswered(): Disposable {
  const unanswered = new Unanswered();
  const timer = setInterval(() => unanswered.look(), everyMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
