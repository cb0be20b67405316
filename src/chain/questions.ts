/** Asks layers what they can do: once, of the layer, of the one below it, or a plugin's default. nbdkit-plugin(3). */
import { after, isPromise, promiseOf } from "../api/awaitable.ts";
import type { Callback } from "../api/generated/callbacks.gen.ts";
import { supports } from "../api/generated/constants.gen.ts";
import type { Awaitable, NextOps } from "../api/generated/methods.gen.ts";
import { type BlockSize, checkBlockSize, checkBlockSizeRange } from "../lib/block-size.ts";
import { NbdError } from "../lib/errors.ts";
import { methodName, oddAnswer } from "./answers.ts";
import type { Context } from "./context.ts";
import { attempt } from "./failure.ts";
import type { Layer } from "./layer.ts";
import { type Question, type Remembered, remembered, rowOf } from "./methods.ts";
import { mustBeOpen } from "./rules.ts";
import type { Answers, AnswerTo } from "./state.ts";
import { windowSize } from "./window.ts";

class Describing {
  /** Not remembered, as in nbdkit: no client asks often. */
  exportDescription(this: Context): Awaitable<string | undefined> {
    return askDescription(this);
  }
}

for (const key of remembered) {
  const value = function answer(this: Context): unknown {
    return this.state.answers[key] ?? ask(this, key);
  };
  Object.defineProperty(Describing.prototype, key, { value });
}

/** A class with a method for each question. `Context` extends it. */
// The loop makes the cast true, which the compiler cannot follow.
export const Asking = Describing as new () => Pick<NextOps, Question>;

/** Ask the question, if the answers to others do not settle it. `settled`: how many of these are known already. */
function ask<Q extends Remembered>(context: Context, key: Q, settled = 0): Awaitable<AnswerTo<Q>> {
  // A row names only questions with a yes or no in this column.
  const first = rowOf(key).askedIf?.[settled] as "canWrite" | "canZero" | undefined;
  if (first === undefined) return askLayer(context, key);
  return after(context[first](), (can) =>
    can === false || can === "none" ? unasked(context, key) : ask(context, key, settled + 1),
  );
}

/** The answer follows from others. As in nbdkit there is a debug line, though no layer is asked. */
function unasked<Q extends Remembered>(context: Context, key: Q): AnswerTo<Q> {
  const { cName, returns } = rowOf(key);
  context.control(cName);
  // The two ways to say no.
  const no = (returns === "support" ? "none" : false) as AnswerTo<Q>;
  context.state.answers[key] = no as Answers[Q];
  return no;
}

/** An answer is remembered, an error is not. A layer that has not answered yet is not asked once more. */
function askLayer<Q extends Remembered>(context: Context, key: Q): Awaitable<AnswerTo<Q>> {
  const { cName } = rowOf(key);
  const { answers, asked } = context.state;
  mustBeOpen(context, cName);
  // Only promises of this question's answers are kept under its name.
  const pending = asked.get(key) as Promise<AnswerTo<Q>> | undefined;
  if (pending !== undefined) return pending;
  context.control(cName);
  // `answers` of now: those of a layer that was closed meanwhile are gone.
  const answer = attempt(
    () =>
      after(
        context.question(nameOf(context, key), () => answerOf(context, key)),
        (found) => {
          answers[key] = found as Answers[Q];
          return found;
        },
      ),
    (error) => context.failure(error, cName),
  );
  if (!isPromise(answer)) return answer;
  asked.set(key, answer);
  const end = (): void => void asked.delete(key);
  promiseOf(answer).then(end, end);
  return answer;
}

/** The method that the layer is asked by, as messages name it. */
function nameOf({ layer }: Context, key: Remembered): string {
  return key === "getSize" && layer.window !== undefined ? "window" : key;
}

function answerOf<Q extends Remembered>(context: Context, key: Q): Awaitable<AnswerTo<Q>> {
  const { layer } = context;
  const own: ((context: Context) => Awaitable<unknown>) | undefined = layer[key];
  const row = rowOf(key);
  if (own === undefined && layer.kind === "plugin" && row.default !== undefined) {
    return defaultOf(layer, row) as AnswerTo<Q>;
  }
  if (key === "getSize" && layer.window !== undefined) {
    return after(windowSize(context), (size) => checked(context, row, size) as AnswerTo<Q>);
  }
  const answer = own === undefined ? context.below()[key]() : own.call(layer, context);
  // Only answers of the row's type get through the check.
  return after(answer, (found: unknown) => checked(context, row, found) as AnswerTo<Q>);
}

/** The answer of a plugin that has no such method. */
function defaultOf(plugin: Layer, { default: otherwise, defaultWith }: Callback): unknown {
  if (defaultWith === undefined) return otherwise;
  // The column names another method of layers.
  const has = plugin[defaultWith.has as keyof Layer] !== undefined;
  return has ? defaultWith.answer : otherwise;
}

function checked(context: Context, { cName, returns }: Callback, answer: unknown): unknown {
  const { layer } = context;
  switch (returns) {
    case "bool":
      if (typeof answer === "boolean") return answer;
      throw oddAnswer(layer, cName, answer, "true or false");
    case "support":
      if (typeof answer === "string" && Object.hasOwn(supports, answer)) return answer;
      throw oddAnswer(layer, cName, answer, `one of ${Object.keys(supports).join(", ")}`);
    case "size":
      return checkedSize(context, cName, answer);
    case "block-size":
      return checkedBlockSize(layer, cName, answer);
    default:
      throw new Error(`${cName} is not a question`);
  }
}

function checkedSize({ layer, state }: Context, cName: string, size: unknown): bigint {
  if (typeof size !== "bigint" || size < 0n || size > 0x7fffffffffffffffn) {
    throw oddAnswer(layer, cName, size, {
      c: "0 to 9223372036854775807",
      typescript: "a bigint from 0n to 9223372036854775807n",
    });
  }
  state.exactSize = size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : -1;
  return size;
}

function checkedBlockSize(layer: Layer, cName: string, answer: unknown): BlockSize {
  if (typeof answer !== "object" || answer === null) {
    throw oddAnswer(layer, cName, answer, "an object of minimum, preferred and maximum");
  }
  // The check below says if one of the three is not a number.
  const size = answer as BlockSize;
  // As in nbdkit, a filter may go beyond the rules: the one for copies on write does for large blocks.
  const wrong = layer.kind === "plugin" ? checkBlockSize(size) : checkBlockSizeRange(size);
  if (wrong === undefined) return size;
  throw new NbdError("EINVAL", `${layer.name}: ${methodName(layer, cName)} returned a ${wrong}`);
}

function askDescription(context: Context): Awaitable<string | undefined> {
  const { layer, state } = context;
  const cName = "export_description";
  mustBeOpen(context, cName);
  context.control(cName);
  if (layer.exportDescription === undefined) {
    return layer.kind === "plugin" ? undefined : context.below().exportDescription();
  }
  return attempt(
    () =>
      after(
        context.question("exportDescription", () => layer.exportDescription?.(context)),
        (text) => state.link.checkedString(cName, text, context.connection),
      ),
    (error) => context.failure(error, cName),
  );
}
