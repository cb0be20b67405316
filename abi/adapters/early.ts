/**
 * What C layers are asked for a client that has opened nothing yet: nbdkit-plugin(3), ".preconnect"
 * to ".default_export".
 */
import { after, NbdError } from "#api";
import type { Awaitable } from "#api/generated/methods.gen";
import type { Draft, Visit } from "#chain/layer";
import { Exports } from "#lib/exports";

import type { Bridge } from "../bridge/bridge.ts";
import type { ArgumentsOf, Result } from "../bridge/call.ts";
import { NativeConnection } from "../bridge/connection.ts";
import type { Parked } from "../bridge/request-thread.ts";
import type { Answered, Message } from "../bridge/upcall.ts";
import { readListing, readVisit } from "../generated/messages.gen.ts";
import * as op from "../generated/ops.gen.ts";
import { failed, type NativeCalls } from "./layer.ts";
import { addToExports, exportsFrom, newExports } from "./lists.ts";
import type { NativeModule } from "./loaded-module.ts";

/**
 * What a filter may ask of the layers below while it has no context: in preconnect, list_exports
 * and default_export.
 */
export interface Early {
  preconnect?(readonly: boolean, parked: Parked): Awaitable<void>;
  listExports?(readonly: boolean, exports: Exports, parked: Parked): Awaitable<void>;
  defaultExport?(readonly: boolean, parked: Parked): Awaitable<string | undefined>;
}

export function askEarly(
  bridge: Bridge,
  early: Early,
  message: Message,
  parked: Parked,
  connection: NativeConnection,
): Answered {
  if (message.op === op.RT_OP_PRECONNECT && early.preconnect !== undefined) {
    return early.preconnect(message.read(readVisit).readonly, parked);
  }
  if (message.op === op.RT_OP_LIST_EXPORTS && early.listExports !== undefined) {
    const { exports: list, readonly } = message.read(readListing);
    const exports = new Exports();
    return after(early.listExports(readonly, exports, parked), () =>
      addToExports(bridge, list, exports),
    );
  }
  if (message.op === op.RT_OP_DEFAULT_EXPORT && early.defaultExport !== undefined) {
    const { readonly } = message.read(readVisit);
    return after(early.defaultExport(readonly, parked), (name) => connection.intern(name));
  }
  throw new NbdError("EINVAL", `a C filter called what there is not now (${message.op})`);
}

/** Has `call` done while the module may ask of the layers below what `asks` says: a plugin has none. */
type Around = <T>(connection: NativeConnection, asks: Early, call: () => Promise<T>) => Promise<T>;

export function addEarly(
  draft: Draft,
  module: NativeModule,
  native: NativeCalls,
  nxdata: number,
  around: Around,
): void {
  const { bridge } = module;
  type Ask = <Op extends number>(op: Op, args: ArgumentsOf<Op>) => Promise<Result>;
  const early = async <T>(
    visit: Visit,
    asks: Early,
    call: (ask: Ask) => Promise<T>,
  ): Promise<T> => {
    const connection = NativeConnection.of(bridge, visit.connection);
    const ask: Ask = (number, args) => native.visit(visit, connection, number, args, nxdata);
    try {
      return await around(connection, asks, () => call(ask));
    } finally {
      connection.release();
    }
  };
  if (module.has("preconnect")) {
    draft.preconnect = (next, readonly, visit) =>
      early(visit, { preconnect: next }, async (ask) => {
        const args = { type: "visit", readonly, isTls: false } as const;
        const { ret, reason } = await ask(op.RT_OP_PRECONNECT, args);
        if (ret === -1) throw failed(0, reason);
      });
  }
  if (module.has("list_exports")) {
    draft.listExports = (next, readonly, isTls, exports, visit) =>
      early(visit, { listExports: next }, async (ask) => {
        using list = newExports(bridge);
        addToExports(bridge, list.pointer, exports);
        const known = exports.entries.length;
        const flags = { readonly, isTls, defaultOnly: false };
        const args = { type: "listing", exports: list.pointer, ...flags } as const;
        const { ret, reason } = await ask(op.RT_OP_LIST_EXPORTS, args);
        if (ret === -1) throw failed(0, reason);
        exportsFrom(bridge, list.pointer, exports, known);
      });
  }
  if (module.has("default_export")) {
    draft.defaultExport = (next, readonly, isTls, visit) =>
      early(visit, { defaultExport: next }, async (ask) => {
        const { ret } = await ask(op.RT_OP_DEFAULT_EXPORT, { type: "visit", readonly, isTls });
        return bridge.textAt(Number(ret));
      });
  }
}
