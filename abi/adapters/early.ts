/**
 * What C layers are asked for a client that has opened nothing yet: nbdkit-plugin(3), ".preconnect"
 * to ".default_export".
 */
import { after, NbdError } from "#api";
import type { Awaitable } from "#api/generated/methods.gen";
import type { Draft, Visit } from "#chain/layer";
import { Exports } from "#lib/exports";

import type { Bridge, Message } from "../bridge/bridge.ts";
import { NativeConnection } from "../bridge/connection.ts";
import type { Answered } from "../bridge/message-memory.ts";
import type { Parked } from "../bridge/request-thread.ts";
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
  const readonly = message.int !== 0;
  if (message.op === op.RT_OP_PRECONNECT && early.preconnect !== undefined) {
    return early.preconnect(readonly, parked);
  }
  if (message.op === op.RT_OP_LIST_EXPORTS && early.listExports !== undefined) {
    const list = message.pointer("exports");
    const exports = new Exports();
    return after(early.listExports(readonly, exports, parked), () =>
      addToExports(bridge, list, exports),
    );
  }
  if (message.op === op.RT_OP_DEFAULT_EXPORT && early.defaultExport !== undefined) {
    return after(early.defaultExport(readonly, parked), (name) => connection.intern(name));
  }
  throw new NbdError("EINVAL", `a C filter called what there is not now (${message.op})`);
}

/** Has `call` done while the module may ask of the layers below what `asks` says: a plugin has none. */
type Around = <T>(connection: NativeConnection, asks: Early, call: () => Promise<T>) => Promise<T>;

/** `knowsTls`: list_exports takes is_tls. Before 1.23.6 it took default_only there, which is never what is wanted. */
interface EarlyForm {
  readonly nxdata: number;
  readonly knowsTls: boolean;
}

export function addEarly(
  draft: Draft,
  module: NativeModule,
  native: NativeCalls,
  { nxdata, knowsTls }: EarlyForm,
  around: Around,
): void {
  const { bridge } = module;
  const early = async <T>(
    visit: Visit,
    asks: Early,
    call: (connection: NativeConnection) => Promise<T>,
  ): Promise<T> => {
    const connection = NativeConnection.of(bridge, visit.connection);
    try {
      return await around(connection, asks, () => call(connection));
    } finally {
      connection.release();
    }
  };
  if (module.has("preconnect")) {
    draft.preconnect = (next, readonly, visit) =>
      early(visit, { preconnect: next }, async (connection) => {
        const call = { op: op.RT_OP_PRECONNECT, nxdata, readonly };
        const { ret, said } = await native.visit(visit, connection, call);
        if (ret === -1) throw failed(0, said);
      });
  }
  if (module.has("list_exports")) {
    draft.listExports = (next, readonly, isTls, exports, visit) =>
      early(visit, { listExports: next }, async (connection) => {
        using list = newExports(bridge);
        addToExports(bridge, list.pointer, exports);
        const known = exports.entries.length;
        const call = { op: op.RT_OP_LIST_EXPORTS, nxdata, readonly, exports: list.pointer };
        const taken = { ...call, isTls: knowsTls && isTls };
        const { ret, said } = await native.visit(visit, connection, taken);
        if (ret === -1) throw failed(0, said);
        exportsFrom(bridge, list.pointer, exports, known);
      });
  }
  if (module.has("default_export")) {
    draft.defaultExport = (next, readonly, isTls, visit) =>
      early(visit, { defaultExport: next }, async (connection) => {
        const call = { op: op.RT_OP_DEFAULT_EXPORT, nxdata, readonly, isTls };
        return bridge.textAt((await native.visit(visit, connection, call)).ret);
      });
  }
}
