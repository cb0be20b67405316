/** Limits how many requests run at once, as the thread model demands. */
import type { ThreadModel } from "../api/generated/methods.gen.ts";
import type { Lock } from "./lock.ts";

/**
 * A request that is answered at once only needs to find the lock free, since nothing else runs meanwhile. A request
 * that is answered later holds the lock until then.
 */
export class Gate {
  /** Called when a request that waited may run. Must call `leave` if no request runs after all. */
  onGranted: () => void = () => {};
  /** The requests of this connection run one at a time. */
  readonly one: boolean;
  readonly #all: Lock | undefined;
  #waiting = false;
  #granted = false;

  /** `all` is the lock that all connections share. */
  constructor(model: ThreadModel, all: Lock) {
    this.one = model !== "parallel";
    this.#all = model === "parallel" || model === "serialize_requests" ? undefined : all;
  }

  /** Whether a request may run now. If not, `onGranted` is called later, or a request in flight ends. */
  open(inFlight: number): boolean {
    if (!this.one) return true;
    if (inFlight > 0) return false;
    if (this.#all === undefined || this.#granted) return true;
    if (this.#waiting) return false;
    if (this.#all.free) return true;
    this.#waiting = true;
    void this.#wait(this.#all);
    return false;
  }

  /** The request was answered at once, or no request runs after all. */
  leave(): void {
    if (!this.#granted) return;
    this.#granted = false;
    this.#all?.release();
  }

  /** The request will be answered later. */
  stay(): void {
    if (this.#granted) this.#granted = false;
    else this.#all?.take();
  }

  /** A request that called `stay` has been answered. */
  leaveLater(): void {
    this.#all?.release();
  }

  async #wait(all: Lock): Promise<void> {
    await all.acquire();
    this.#waiting = false;
    this.#granted = true;
    this.onGranted();
  }
}
