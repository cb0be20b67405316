/** What a C filter's context is asked: the callbacks that answer questions, and those that move data. */
import { after } from "#api";
import { supports } from "#api/generated/constants.gen";
import type { Awaitable, Support } from "#api/generated/methods.gen";
import type { Draft, LayerContext } from "#chain/layer";

import * as op from "../generated/ops.gen.ts";
import { failed, type NativeCalls, wordOf } from "./layer.ts";
import { nativeExtents } from "./lists.ts";
import type { FilterModule } from "./loaded-module.ts";

export function addQueries(draft: Draft, module: FilterModule, native: NativeCalls): void {
  const yes = (number: number) => async (context: LayerContext) =>
    (await native.number(context, number)) !== 0;
  const support = (number: number) => async (context: LayerContext) => {
    const answer = await native.number(context, number);
    const word: Support | undefined = wordOf(supports, answer);
    if (word === undefined) throw failed(0);
    return word;
  };
  if (module.has("get_size")) draft.getSize = (context) => native.size(context, op.RT_OP_GET_SIZE);
  if (module.has("can_write")) draft.canWrite = yes(op.RT_OP_CAN_WRITE);
  if (module.has("can_flush")) draft.canFlush = yes(op.RT_OP_CAN_FLUSH);
  if (module.has("is_rotational")) draft.isRotational = yes(op.RT_OP_IS_ROTATIONAL);
  if (module.has("can_trim")) draft.canTrim = yes(op.RT_OP_CAN_TRIM);
  if (module.has("can_zero")) {
    const can = yes(op.RT_OP_CAN_ZERO);
    draft.canZero = module.form.triStateZero
      ? support(op.RT_OP_CAN_ZERO)
      : async (context) => ((await can(context)) ? "native" : "none");
  }
  if (module.has("can_fast_zero")) draft.canFastZero = yes(op.RT_OP_CAN_FAST_ZERO);
  if (module.has("can_extents")) draft.canExtents = yes(op.RT_OP_CAN_EXTENTS);
  if (module.has("can_fua")) {
    draft.canFua = support(op.RT_OP_CAN_FUA);
    draft.takesFua = true;
  }
  if (module.has("can_multi_conn")) draft.canMultiConn = yes(op.RT_OP_CAN_MULTI_CONN);
  if (module.has("can_cache")) draft.canCache = support(op.RT_OP_CAN_CACHE);
  if (module.has("export_description")) {
    draft.exportDescription = (context) => native.text(context, op.RT_OP_EXPORT_DESCRIPTION);
  }
  if (module.has("block_size")) draft.blockSize = (context) => native.blockSize(context);
  addMissing(draft, module);
}

/** What a filter for an old release cannot say of itself, because nbdkit did not ask it yet. */
function addMissing(draft: Draft, module: FilterModule): void {
  const { fields } = module.form.filter;
  const knows = (callback: string) => fields[callback] !== undefined;
  const has = (...callbacks: string[]) => callbacks.some((callback) => module.has(callback));
  const changes = has("get_size", "pread", "pwrite", "trim", "zero");
  if (!module.form.hasErr && has("pwrite", "trim", "zero")) {
    // These callbacks have no flags, so FUA cannot go through them: the whole layer is flushed instead.
    draft.canFua = (context): Awaitable<Support> =>
      after(context.canFlush(), (can) => (can ? "emulate" : "none"));
  }
  if (!knows("can_multi_conn") && has("pread", "pwrite", "trim", "zero", "flush")) {
    // The filter may keep data for one connection only, and has no way to say that it does not.
    draft.canMultiConn = () => false;
  }
  if (!knows("can_zero") && has("zero")) draft.canZero = () => "native";
  if (!knows("can_fast_zero") && has("zero")) draft.canFastZero = () => false;
  // What these requests mean below is not what they mean above, where the filter moves or changes data.
  if (!knows("extents") && changes) draft.canExtents = () => false;
  if (!knows("cache") && changes) draft.canCache = () => "none";
}

export function addData(draft: Draft, module: FilterModule, native: NativeCalls): void {
  // Layouts without flags ignore them: the seam does not pass any to such a layer but for zero's.
  if (module.has("pread")) {
    draft.pread = (context, buf, offset, flags) =>
      native.data(context, { op: op.RT_OP_PREAD, buf, offset, flags });
  }
  if (module.has("pwrite")) {
    draft.pwrite = (context, buf, offset, flags) =>
      native.data(context, { op: op.RT_OP_PWRITE, buf, offset, flags });
  }
  if (module.has("flush")) {
    draft.flush = (context, flags) => native.data(context, { op: op.RT_OP_FLUSH, flags });
  }
  const range =
    (number: number) => (context: LayerContext, count: number, offset: bigint, flags: number) =>
      native.data(context, { op: number, count, offset, flags });
  if (module.has("trim")) draft.trim = range(op.RT_OP_TRIM);
  if (module.has("zero")) draft.zero = range(op.RT_OP_ZERO);
  if (module.has("cache")) draft.cache = range(op.RT_OP_CACHE);
  if (module.has("extents")) draft.extents = nativeExtents(module, native);
}
