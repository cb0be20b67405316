/** The adapter of C plugins, API 1 and 2: nbdkit-plugin(3). */
import { after, FLAG_FAST_ZERO } from "#api";
import type { Draft, Layer } from "#chain/layer";
import { errnos } from "#lib/errno";

import { NativeConnection } from "../bridge/connection.ts";
import { layouts } from "../generated/layouts.gen.ts";
import * as op from "../generated/ops.gen.ts";
import { addBeforeOpen } from "./before-open.ts";
import {
  addClose,
  described,
  failed,
  NativeCalls,
  type NativeHandle,
  OutstandingCalls,
  threadModelName,
} from "./layer.ts";
import { addLifeCycle } from "./life-cycle.ts";
import type { NativeModule } from "./loaded-module.ts";
import { addQuestions } from "./questions.ts";
import { addRequests } from "./requests.ts";
import { offerShortcut } from "./shortcut.ts";

export function nativePlugin(module: NativeModule): Layer {
  const preserved = module.integer("errno_is_preserved") !== 0;
  const native = new NativeCalls(module, ({ stored, errnoAfter }) =>
    stored !== 0 ? stored : preserved ? errnoAfter : 0,
  );
  const draft = described("plugin", module);
  draft.magicConfigKey = module.text("magic_config_key");
  draft.dumpFields = dumpFields(module);
  draft.threadModel = () => threadModelName(module.threadModel);
  addLifeCycle(draft, module, native, 0, async (_next, call) => void (await call()));
  addBeforeOpen(draft, module, native, 0, (_connection, _next, call) => call());
  addOpening(draft, module, native);
  addQueries(draft, module, native);
  addData(draft, module, native);
  offerShortcut(draft, module, preserved);
  return draft;
}

function addOpening(draft: Draft, module: NativeModule, native: NativeCalls): void {
  draft.open = async (context, _next, readonly, exportName) => {
    const connection = NativeConnection.of(module.bridge, context.connection);
    const handle: NativeHandle = {
      pointer: 0,
      nxdata: 0,
      connection,
      exportName: connection.intern(exportName),
      outstanding: new OutstandingCalls(),
      free: () => connection.release(),
    };
    try {
      const args = { type: "open", exportName: 0, readonly, isTls: false } as const;
      const result = await native.run(context, handle, op.RT_OP_OPEN, args);
      if (result.ret === 0) throw failed(result.stored, result.reason);
      handle.pointer = Number(result.ret);
      return handle;
    } catch (error) {
      handle.free();
      throw error;
    }
  };
  addClose(draft, module, native);
}

function addQueries(draft: Draft, module: NativeModule, native: NativeCalls): void {
  // A number without a meaning counts as no support.
  addQuestions(draft, module, native, "none");
  if (module.has("can_zero")) {
    draft.canZero = async (context) =>
      (await native.number(context, op.RT_OP_CAN_ZERO, undefined)) === 0 ? "emulate" : "native";
  }
  if (!module.has("can_fast_zero")) {
    const hasZero = module.has("zero");
    // Without the zero callback of API 2 a fast zero fails at once, as it should where zeroing is slow.
    draft.canFastZero = () => !hasZero;
  }
  const { canFua } = draft;
  if (canFua !== undefined && module.apiVersion === 1) {
    // Callbacks of API 1 have no flags.
    draft.canFua = (context) =>
      after(canFua(context), (support) => (support === "native" ? "emulate" : support));
  }
}

function addData(draft: Draft, module: NativeModule, native: NativeCalls): void {
  addRequests(draft, module, native);
  const { zero } = draft;
  if (zero === undefined || module.has("zero")) return;
  // The zero of API 1 has no flags, so it cannot refuse to be slow.
  draft.zero = (context, count, offset, flags) =>
    flags & FLAG_FAST_ZERO
      ? Promise.reject(failed(errnos.EOPNOTSUPP))
      : zero(context, count, offset, flags);
}

/** The fields of --dump-plugin after path, name and version, in nbdkit's order. */
function dumpFields(module: NativeModule): (readonly [string, string])[] {
  const model = threadModelName(module.threadModel);
  const fields: (readonly [string, string])[] = [
    ["api_version", String(module.apiVersion)],
    ["struct_size", String(module.structSize)],
    ["max_thread_model", model],
    ["thread_model", model],
    ["errno_is_preserved", String(module.integer("errno_is_preserved") !== 0 ? 1 : 0)],
  ];
  const magic = module.text("magic_config_key");
  if (magic !== undefined) fields.push(["magic_config_key", magic]);
  for (const [name, { kind }] of Object.entries(layouts.plugin.fields)) {
    const optional = ["longname", "description", "config_help"].includes(name);
    if ((kind === "function" || optional) && module.has(name)) fields.push([`has_${name}`, "1"]);
  }
  return fields;
}
