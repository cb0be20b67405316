/** What a C filter's context is asked: the callbacks that answer questions, and those that move data. */
import type { Draft } from "#chain/layer";

import * as op from "../generated/ops.gen.ts";
import type { NativeCalls } from "./layer.ts";
import type { FilterModule } from "./loaded-module.ts";
import { addOlderAnswers, addQuestions } from "./questions.ts";
import { addRequests } from "./requests.ts";

export function addQueries(draft: Draft, module: FilterModule, native: NativeCalls): void {
  addQuestions(draft, module, native);
  addOlderAnswers(draft, module);
  if (module.has("can_zero") && !module.form.triStateZero) {
    draft.canZero = async (context) =>
      (await native.number(context, op.RT_OP_CAN_ZERO)) === 0 ? "none" : "native";
  }
  if (module.has("can_fua")) draft.takesFua = true;
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
