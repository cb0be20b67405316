/** What a C filter has for the layers below while it has no connection to them: nbdkit-filter(3), "nbdkit_backend". */
import { after, NbdError } from "#api";
import type { LayersBelow } from "#chain/layer";

import type { Upcalled } from "../bridge/bridge.ts";
import type { Answered } from "../bridge/upcall.ts";
import * as op from "../generated/ops.gen.ts";
import type { FilterModule } from "./loaded-module.ts";
import { type NextPointer, openContext } from "./next.ts";

/**
 * One for each filter, with one pointer for the filter's whole life: it may keep it. Who is meant shows in the client
 * that the calling thread works for.
 */
export class Backend {
  readonly nxdata: number;
  below: LayersBelow | undefined;
  /** By the address of the client's struct rt_connection; 0 where there is no client. The last one counts. */
  readonly #asked = new Map<number, readonly Upcalled[]>();
  /** Filters of 1.16 to 1.24 reach a connection's layers through this pointer, too. */
  readonly #opened = new Map<number, NextPointer>();

  constructor(module: FilterModule, name: string) {
    const target = module.bridge.newTarget((message, parked) => {
      if (message.op === op.RT_OP_CONTEXT_OPEN) {
        return openContext(module, this.below, message, parked);
      }
      const { connection } = message;
      const opened = this.#opened.get(connection);
      const ask = this.#asked.get(connection)?.at(-1);
      if (ask !== undefined) return ask(message, parked);
      if (opened !== undefined) return after(opened.ask(message, parked), forThisOnce);
      throw new NbdError("EINVAL", `${name} called the layer below, but outside of a callback`);
    }, module.module);
    this.nxdata = target.nxdata;
  }

  /** `ask` answers for the time of `call`, which is on behalf of `connection`. */
  async during<T>(connection: number, ask: Upcalled, call: () => Promise<T>): Promise<T> {
    this.#asked.set(connection, [...(this.#asked.get(connection) ?? []), ask]);
    try {
      return await call();
    } finally {
      const rest = this.#asked.get(connection)?.filter((it) => it !== ask) ?? [];
      if (rest.length > 0) this.#asked.set(connection, rest);
      else this.#asked.delete(connection);
    }
  }

  opened(connection: number, next: NextPointer): void {
    this.#opened.set(connection, next);
  }

  closed(connection: number, next: NextPointer): void {
    if (this.#opened.get(connection) === next) this.#opened.delete(connection);
  }
}

/** The next one who asks may be of another connection. */
function forThisOnce(answer: Awaited<Answered>): Awaited<Answered> {
  return typeof answer === "object" ? { ...answer, remember: false } : answer;
}
