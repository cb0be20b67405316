/** Callbacks of C layers for a client before `open`: nbdkit-plugin(3), ".preconnect" to ".default_export". */
import { after, NbdError } from "#api";
import type { Awaitable } from "#api/generated/methods.gen";
import type { Draft, Visit } from "#chain/layer";
import { Exports } from "#lib/exports";

import type { Bridge } from "../bridge/bridge.ts";
import type { ArgumentsOf, Result } from "../bridge/call.ts";
import { NativeConnection } from "../bridge/connection.ts";
import type { Parked } from "../bridge/request-thread.ts";
import type { Answered, Message } from "../bridge/upcall.ts";
import { readAccess, readListing } from "../generated/messages.gen.ts";
import * as op from "../generated/ops.gen.ts";
import { failed, type NativeCalls } from "./layer.ts";
import { addToExports, exportsFrom, newExports } from "./lists.ts";
import type { NativeModule } from "./loaded-module.ts";

/** What one of these callbacks of a filter may call in the layer below: the function of the same name. */
export interface NextBeforeOpen {
  preconnect?(readonly: boolean, parked: Parked): Awaitable<void>;
  listExports?(readonly: boolean, exports: Exports, parked: Parked): Awaitable<void>;
  defaultExport?(readonly: boolean, parked: Parked): Awaitable<string | undefined>;
}

/** Answer a filter's call of the layer below during one of these callbacks. */
export function answerBeforeOpen(
  bridge: Bridge,
  next: NextBeforeOpen,
  message: Message,
  parked: Parked,
  connection: NativeConnection,
): Answered {
  if (message.op === op.RT_OP_PRECONNECT && next.preconnect !== undefined) {
    return next.preconnect(message.read(readAccess).readonly, parked);
  }
  if (message.op === op.RT_OP_LIST_EXPORTS && next.listExports !== undefined) {
    const { exports: list, readonly } = message.read(readListing);
    const exports = new Exports();
    return after(next.listExports(readonly, exports, parked), () =>
      addToExports(bridge, list, exports),
    );
  }
  if (message.op === op.RT_OP_DEFAULT_EXPORT && next.defaultExport !== undefined) {
    const { readonly } = message.read(readAccess);
    return after(next.defaultExport(readonly, parked), (name) => connection.intern(name));
  }
  throw new NbdError("EINVAL", `a C filter called what there is not now (${message.op})`);
}

/** Runs `call` while a filter may call `next`. A plugin has no layer below. */
type WithNext = <T>(
  connection: NativeConnection,
  next: NextBeforeOpen,
  call: () => Promise<T>,
) => Promise<T>;

export function addBeforeOpen(
  draft: Draft,
  module: NativeModule,
  native: NativeCalls,
  nxdata: number,
  withNext: WithNext,
): void {
  const { bridge } = module;
  type Run = <Op extends number>(op: Op, args: ArgumentsOf<Op>) => Promise<Result>;
  const withConnection = async <T>(
    visit: Visit,
    below: NextBeforeOpen,
    call: (run: Run) => Promise<T>,
  ): Promise<T> => {
    const connection = NativeConnection.of(bridge, visit.connection);
    const run: Run = (number, args) => native.beforeOpen(visit, connection, number, args, nxdata);
    try {
      return await withNext(connection, below, () => call(run));
    } finally {
      connection.release();
    }
  };
  if (module.has("preconnect")) {
    draft.preconnect = (next, readonly, visit) =>
      withConnection(visit, { preconnect: next }, async (run) => {
        const args = { type: "access", readonly, isTls: false } as const;
        const { ret, reason } = await run(op.RT_OP_PRECONNECT, args);
        if (ret === -1) throw failed(0, reason);
      });
  }
  if (module.has("list_exports")) {
    draft.listExports = (next, readonly, isTls, exports, visit) =>
      withConnection(visit, { listExports: next }, async (run) => {
        using list = newExports(bridge);
        addToExports(bridge, list.pointer, exports);
        const known = exports.entries.length;
        const flags = { readonly, isTls, defaultOnly: false };
        const args = { type: "listing", exports: list.pointer, ...flags } as const;
        const { ret, reason } = await run(op.RT_OP_LIST_EXPORTS, args);
        if (ret === -1) throw failed(0, reason);
        exportsFrom(bridge, list.pointer, exports, known);
      });
  }
  if (module.has("default_export")) {
    draft.defaultExport = (next, readonly, isTls, visit) =>
      withConnection(visit, { defaultExport: next }, async (run) => {
        const { ret } = await run(op.RT_OP_DEFAULT_EXPORT, { type: "access", readonly, isTls });
        return bridge.textAt(Number(ret));
      });
  }
}
