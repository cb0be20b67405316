/** How a C filter reaches the layers below outside of a connection: nbdkit-filter(3), "nbdkit_backend". */
import { after, NbdError } from "#api";
import type { LayersBelow } from "#chain/layer";

import type { UpcallHandler } from "../bridge/bridge.ts";
import type { Answered } from "../bridge/upcall.ts";
import * as op from "../generated/ops.gen.ts";
import type { FilterModule } from "./loaded-module.ts";
import { type NextPointer, openContext } from "./next.ts";

/**
 * Each filter has one backend, whose address it may keep for its whole life. The client that the calling thread works
 * for tells which connection a call belongs to.
 */
export class Backend {
  readonly nxdata: number;
  below: LayersBelow | undefined;
  /** Handlers by the address of the client's struct rt_connection, 0 for no client. The last one answers. */
  readonly #handlers = new Map<number, readonly UpcallHandler[]>();
  /** Filters for nbdkit 1.16 to 1.24 also reach a connection's layers through this address. */
  readonly #opened = new Map<number, NextPointer>();

  constructor(module: FilterModule, name: string) {
    const { nxdata } = module.bridge.newUpcallHandler((message, parked) => {
      if (message.op === op.RT_OP_CONTEXT_OPEN) {
        return openContext(module, this.below, message, parked);
      }
      const { connection } = message;
      const opened = this.#opened.get(connection);
      const handler = this.#handlers.get(connection)?.at(-1);
      if (handler !== undefined) return handler(message, parked);
      if (opened !== undefined) return after(opened.answer(message, parked), notRemembered);
      throw new NbdError("EINVAL", `${name} called the layer below, but outside of a callback`);
    }, module.module);
    this.nxdata = nxdata;
  }

  /** Run `call` for `connection`. Meanwhile `handler` answers the filter's calls of the layer below. */
  async during<T>(connection: number, handler: UpcallHandler, call: () => Promise<T>): Promise<T> {
    this.#handlers.set(connection, [...(this.#handlers.get(connection) ?? []), handler]);
    try {
      return await call();
    } finally {
      const rest = this.#handlers.get(connection)?.filter((it) => it !== handler) ?? [];
      if (rest.length > 0) this.#handlers.set(connection, rest);
      else this.#handlers.delete(connection);
    }
  }

  opened(connection: number, next: NextPointer): void {
    this.#opened.set(connection, next);
  }

  closed(connection: number, next: NextPointer): void {
    if (this.#opened.get(connection) === next) this.#opened.delete(connection);
  }
}

/** The next call through the same address may be for another connection. */
function notRemembered(answer: Awaited<Answered>): Awaited<Answered> {
  return typeof answer === "object" ? { ...answer, remember: false } : answer;
}
