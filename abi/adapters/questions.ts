/** Questions between the chain and C, such as can_write: a loop over codegen's table of callbacks. */
import { after } from "#api";
import type { Callback } from "#api/generated/callbacks.gen";
import { supports } from "#api/generated/constants.gen";
import type { Awaitable, Support } from "#api/generated/methods.gen";
import type { Draft, LayerContext } from "#chain/layer";
import { type Question, questions, rowOf } from "#chain/methods";
import type { BlockSize } from "#lib/block-size";

import type { Reply } from "../bridge/upcall.ts";
import { RT_OP_CAN_ZERO } from "../generated/ops.gen.ts";
import { failed, type NativeCalls, wordOf } from "./layer.ts";
import type { FilterModule, NativeModule } from "./loaded-module.ts";
import type { BelowCall } from "./next-call.ts";

type Answer = (context: LayerContext) => Promise<unknown>;

/** Answer by the callbacks that the module has. A number that means no support is answered with `unknown`, or fails. */
export function addQuestions(
  draft: Draft,
  module: NativeModule,
  native: NativeCalls,
  unknown?: Support,
): void {
  for (const question of questions) {
    const row = rowOf(question);
    if (!module.has(row.cName)) continue;
    // Object.assign, since the compiler cannot relate the name to the type of its method in a loop.
    Object.assign(draft, { [question]: answered(native, row, unknown) });
  }
}

function answered(
  native: NativeCalls,
  { cName, op, returns }: Callback,
  unknown?: Support,
): Answer {
  switch (returns) {
    case "bool":
      return async (context) => (await native.number(context, op, undefined)) !== 0;
    case "support":
      return async (context) => {
        const word: Support | undefined = wordOf(
          supports,
          await native.number(context, op, undefined),
        );
        if (word === undefined && unknown === undefined) throw failed(0);
        return word ?? unknown;
      };
    case "size":
      return (context) => native.size(context, op);
    case "string":
      return (context) => native.text(context, op);
    case "block-size":
      return (context) => native.blockSize(context);
    default:
      throw new Error(`${cName} is not a question`);
  }
}

/** Answer in place of callbacks that the release of the filter lacks. */
export function addOlderAnswers(draft: Draft, module: FilterModule): void {
  for (const question of questions) {
    const { cName, olderFilter, returns } = rowOf(question);
    if (module.form.filter.fields[cName] !== undefined) continue;
    if (olderFilter?.has.some((callback) => module.has(callback)) !== true) continue;
    const { answer, needs } = olderFilter;
    const no = returns === "support" ? "none" : false;
    // The column names a question with a yes or no.
    const needed = needs as "canFlush" | undefined;
    const method = (context: LayerContext): Awaitable<unknown> =>
      needed === undefined ? answer : after(context[needed](), (can) => (can ? answer : no));
    Object.assign(draft, { [question]: method });
  }
}

/** The questions of a C filter to the layer below, by op. C remembers the answer as long as the layers stay. */
export const questionsBelow: ReadonlyMap<number, BelowCall> = new Map(
  questions.map((question) => [rowOf(question).op, questionBelow(question)]),
);

function questionBelow(question: Question): BelowCall {
  const { op, returns } = rowOf(question);
  return (next, _message, { connection, module }) =>
    after<unknown, Reply>(next[question](), (answer) => {
      // The seam has checked that the answer is of the row's type.
      if (returns === "block-size") return { ret: 0, ...(answer as BlockSize) };
      if (returns === "string") return connection.intern(answer as string | undefined);
      if (returns === "size") return remembered(answer as bigint);
      if (returns === "bool") return remembered(answer === true ? 1 : 0);
      const support = supports[answer as Support];
      const isBoolean = op === RT_OP_CAN_ZERO && !module.form.triStateZero;
      return remembered(isBoolean ? Math.min(support, 1) : support);
    });
}

const remembered = (ret: bigint | number): Reply => ({ ret, remember: true });
