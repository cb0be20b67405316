/** What a C filter's context is asked: the callbacks that answer questions, and those that move data. */
import { after } from "#api";
import type { Awaitable, Support } from "#api/generated/methods.gen";
import type { Draft } from "#chain/layer";

import * as op from "../generated/ops.gen.ts";
import type { NativeCalls } from "./layer.ts";
import type { FilterModule } from "./loaded-module.ts";
import { addQuestions } from "./questions.ts";
import { addRequests } from "./requests.ts";

export function addQueries(draft: Draft, module: FilterModule, native: NativeCalls): void {
  addQuestions(draft, module, native);
  if (module.has("can_zero") && !module.form.triStateZero) {
    draft.canZero = async (context) =>
      (await native.number(context, op.RT_OP_CAN_ZERO)) === 0 ? "none" : "native";
  }
  if (module.has("can_fua")) draft.takesFua = true;
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
  const own = (name: string, number: number) => (module.has(name) ? number : undefined);
  addRequests(draft, module, native, {
    pread: own("pread", op.RT_OP_PREAD),
    pwrite: own("pwrite", op.RT_OP_PWRITE),
    flush: own("flush", op.RT_OP_FLUSH),
    trim: own("trim", op.RT_OP_TRIM),
    zero: own("zero", op.RT_OP_ZERO),
    cache: own("cache", op.RT_OP_CACHE),
  });
}
