/** Calls the callbacks of C modules that belong to no connection, on the life-cycle thread. */
import { ConfigError } from "#api";
import type { Callback } from "#api/generated/callbacks.gen";
import { threadModels } from "#api/generated/constants.gen";
import type { Awaitable } from "#api/generated/methods.gen";
import type { Draft } from "#chain/layer";
import { lifeCycleMethods, rowOf } from "#chain/methods";

import type { Message } from "../bridge/upcall.ts";
import { readSetting } from "../generated/messages.gen.ts";
import * as op from "../generated/ops.gen.ts";
import { type NativeCalls, threadModelName } from "./layer.ts";
import type { NativeModule } from "./loaded-module.ts";

/** Runs `call` while a filter may call `next`. A plugin has no layer below. */
type WithNext = (
  next: (message: Message) => Awaitable<void>,
  call: () => Promise<unknown>,
) => Promise<void>;

export function addLifeCycle(
  draft: Draft,
  module: NativeModule,
  native: NativeCalls,
  nxdata: number,
  withNext: WithNext,
): void {
  for (const method of lifeCycleMethods) {
    const row = rowOf(method);
    const { carries, cName, nextIs, scope } = row;
    const isAlone = carries === undefined && nextIs === undefined && scope !== "connection";
    if (!isAlone || !module.has(cName)) continue;
    // Object.assign, since the compiler cannot relate the name to the type of its method in a loop.
    Object.assign(draft, { [method]: called(module, native, nxdata, row) });
  }
  if (module.has("get_ready")) {
    draft.getReady = async (model) => {
      const args = { type: "model", threadModel: threadModels[model] } as const;
      await native.lifecycleOrExit("get_ready callback", op.RT_OP_GET_READY, args, nxdata);
    };
  }
  if (module.has("config")) {
    draft.config = (next, key, value) => {
      const answer = (message: Message) => {
        const setting = message.read(readSetting);
        return next(message.text(setting.key), message.text(setting.value));
      };
      const args = native.setting(key, value);
      const what = `config callback for ${key}=${value}`;
      return withNext(answer, () => native.lifecycleOrExit(what, op.RT_OP_CONFIG, args, nxdata));
    };
  }
  if (module.has("config_complete")) {
    draft.configComplete = (next) => {
      const what = "config_complete callback";
      const call = () => native.lifecycleOrExit(what, op.RT_OP_CONFIG_COMPLETE, undefined, nxdata);
      return withNext(next, call);
    };
  }
  if (module.has("thread_model")) {
    draft.threadModel = async (next) => {
      const args = { type: "model", threadModel: threadModels[next] } as const;
      const what = "thread_model callback";
      const model = await native.lifecycleOrExit(what, op.RT_OP_THREAD_MODEL, args);
      if (draft.kind === "plugin") return threadModelName(Math.min(module.threadModel, model));
      if (model < 0 || model > threadModels.parallel) {
        throw new ConfigError(`${draft.name}: thread_model returned ${model}: expected 0 to 3`);
      }
      return threadModelName(model);
    };
  }
}

/** A callback without arguments of its own. */
function called(module: NativeModule, native: NativeCalls, nxdata: number, row: Callback) {
  return async (): Promise<void> => {
    const what = `${row.cName} callback`;
    if (row.returns === "ok") await native.lifecycleOrExit(what, row.op, undefined, nxdata);
    else await native.lifecycle(row.op, undefined, nxdata);
    if (row.op === op.RT_OP_DUMP_PLUGIN) module.bridge.native.rt_flush_stdout();
  };
}
