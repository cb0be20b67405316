/** Asks layers what they can do: once, of the layer, of the one below it, or a plugin's default. nbdkit-plugin(3). */
import { after } from "../api/awaitable.ts";
import { supports } from "../api/generated/constants.gen.ts";
import type { Awaitable, Support } from "../api/generated/methods.gen.ts";
import {
  type BlockSize,
  checkBlockSize,
  checkBlockSizeRange,
  noBlockSize,
} from "../lib/block-size.ts";
import { NbdError } from "../lib/errors.ts";
import { methodName, oddAnswer } from "./answers.ts";
import type { Context } from "./checked.ts";
import { attempt } from "./failure.ts";
import type { Layer } from "./layer.ts";
import { mustBeOpen } from "./rules.ts";
import type { Answers } from "./state.ts";

type BooleanKey =
  | "canExtents"
  | "canFastZero"
  | "canFlush"
  | "canMultiConn"
  | "canTrim"
  | "canWrite"
  | "isRotational";
type SupportKey = "canCache" | "canFua" | "canZero";

/** The question's name in C, and the answer of a plugin that has no such method. */
interface Question<T> {
  readonly cName: string;
  of(plugin: Layer): T;
}

const booleans: Readonly<Record<BooleanKey, Question<boolean>>> = {
  canWrite: { cName: "can_write", of: (plugin) => plugin.pwrite !== undefined },
  canFlush: { cName: "can_flush", of: (plugin) => plugin.flush !== undefined },
  isRotational: { cName: "is_rotational", of: () => false },
  canTrim: { cName: "can_trim", of: (plugin) => plugin.trim !== undefined },
  canFastZero: { cName: "can_fast_zero", of: (plugin) => plugin.zero === undefined },
  canExtents: { cName: "can_extents", of: (plugin) => plugin.extents !== undefined },
  canMultiConn: { cName: "can_multi_conn", of: () => false },
};

const supported: Readonly<Record<SupportKey, Question<Support>>> = {
  canZero: {
    cName: "can_zero",
    of: (plugin) => (plugin.zero === undefined ? "emulate" : "native"),
  },
  canFua: { cName: "can_fua", of: (plugin) => (plugin.flush === undefined ? "none" : "emulate") },
  canCache: {
    cName: "can_cache",
    of: (plugin) => (plugin.cache === undefined ? "none" : "native"),
  },
};

export function askSize(context: Context): Awaitable<bigint> {
  return ask(context, "getSize", "get_size", () => {
    const { layer } = context;
    const answer = layer.getSize === undefined ? context.below().getSize() : layer.getSize(context);
    return after(answer, (size) => {
      if (typeof size !== "bigint" || size < 0n || size > 0x7fffffffffffffffn) {
        throw oddAnswer(layer, "get_size", size, {
          c: "0 to 9223372036854775807",
          typescript: "a bigint from 0n to 9223372036854775807n",
        });
      }
      context.state.exactSize = size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : -1;
      return size;
    });
  });
}

export function askBlockSize(context: Context): Awaitable<BlockSize> {
  return ask(context, "blockSize", "block_size", () => {
    const { layer } = context;
    if (layer.blockSize === undefined) {
      return layer.kind === "plugin" ? noBlockSize : context.below().blockSize();
    }
    return after(layer.blockSize(context), (size) => {
      if (typeof size !== "object" || size === null) {
        throw oddAnswer(layer, "block_size", size, "an object of minimum, preferred and maximum");
      }
      // As in nbdkit, a filter may go beyond the rules: the one for copies on write does for large blocks.
      const wrong = layer.kind === "plugin" ? checkBlockSize(size) : checkBlockSizeRange(size);
      if (wrong === undefined) return size;
      const method = methodName(layer, "block_size");
      throw new NbdError("EINVAL", `${layer.name}: ${method} returned a ${wrong}`);
    });
  });
}

/** Not remembered, as in nbdkit: no client asks often. */
export function askDescription(context: Context): Awaitable<string | undefined> {
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

/** A yes or no. */
export function askBoolean(context: Context, key: BooleanKey): Awaitable<boolean> {
  const { cName, of } = booleans[key];
  return ask(context, key, cName, () => {
    const { layer } = context;
    const own = layer[key];
    if (own === undefined) return layer.kind === "plugin" ? of(layer) : context.below()[key]();
    return after(own.call(layer, context), (answer) => {
      if (typeof answer === "boolean") return answer;
      throw oddAnswer(layer, cName, answer, "true or false");
    });
  });
}

/** Not at all, by something else, or by the layer itself. */
export function askSupport(context: Context, key: SupportKey): Awaitable<Support> {
  const { cName, of } = supported[key];
  return ask<SupportKey>(context, key, cName, () => {
    const { layer } = context;
    const own = layer[key];
    if (own === undefined) return layer.kind === "plugin" ? of(layer) : context.below()[key]();
    return after(own.call(layer, context), (answer) => {
      if (Object.hasOwn(supports, answer)) return answer;
      throw oddAnswer(layer, cName, answer, `one of ${Object.keys(supports).join(", ")}`);
    });
  });
}

const cNames = {
  canFastZero: booleans.canFastZero.cName,
  canFua: supported.canFua.cName,
  canTrim: booleans.canTrim.cName,
  canZero: supported.canZero.cName,
} as const;

/** The answer follows from others. As in nbdkit there is a debug line, though no layer is asked. */
function unasked<K extends keyof typeof cNames>(
  context: Context,
  key: K,
  answer: NonNullable<Answers[K]>,
): NonNullable<Answers[K]> {
  context.control(cNames[key]);
  return (context.state.answers[key] = answer);
}

/** Fast zeroes are a kind of zeroes. */
export function askFastZero(context: Context): Awaitable<boolean> {
  return ifWritable(context, "canFastZero", false, () =>
    after(context.canZero(), (zero) =>
      zero === "none" ? unasked(context, "canFastZero", false) : askBoolean(context, "canFastZero"),
    ),
  );
}

/** What cannot be written is not asked for its other ways to write. */
export function ifWritable<K extends keyof typeof cNames>(
  context: Context,
  key: K,
  otherwise: NonNullable<Answers[K]>,
  call: () => Awaitable<NonNullable<Answers[K]>>,
): Awaitable<NonNullable<Answers[K]>> {
  const known = context.state.answers[key];
  if (known !== undefined) return known;
  return after(context.canWrite(), (can) => (can ? call() : unasked(context, key, otherwise)));
}

/** An answer is remembered, an error is not. */
function ask<K extends keyof Answers>(
  context: Context,
  key: K,
  cName: string,
  call: () => Awaitable<NonNullable<Answers[K]>>,
): Awaitable<NonNullable<Answers[K]>> {
  const { answers } = context.state;
  const known = answers[key];
  if (known !== undefined) return known;
  mustBeOpen(context, cName);
  context.control(cName);
  // `answers` of now: those of a layer that was closed meanwhile are gone.
  return attempt(
    () => after(context.question(key, call), (answer) => (answers[key] = answer)),
    (error) => context.failure(error, cName),
  );
}
