/** How many requests may run at once: the thread model, as one connection sees it. */
import type { ThreadModel } from "../api/generated/methods.gen.ts";
import type { Lock } from "./lock.ts";

/**
 * A request that is answered at once needs no lock, since nothing can come between: it only has to
 * find the lock free. One that is answered later holds it until then.
 */
export class Gate {
  /** Called when a request that had to wait may run. It calls `leave` where none runs after all. */
  onGranted: () => void = () => {};
  /** Requests of one connection run one after the other. */
  readonly one: boolean;
  readonly #all: Lock | undefined;
  #waiting = false;
  #granted = false;

  /** `all` is the lock that all connections share. */
  constructor(model: ThreadModel, all: Lock) {
    this.one = model !== "parallel";
    this.#all = model === "parallel" || model === "serialize_requests" ? undefined : all;
  }

  /** Whether a request may run now. If not, `onGranted` will be called, or one in flight will end. */
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

  /** The request that ran was answered at once, or none will run. */
  leave(): void {
    if (!this.#granted) return;
    this.#granted = false;
    this.#all?.release();
  }

  /** The request that ran will be answered later. */
  stay(): void {
    if (this.#granted) this.#granted = false;
    else this.#all?.take();
  }

  /** A request that stayed was answered. */
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
