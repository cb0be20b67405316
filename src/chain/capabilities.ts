/** What a layer can do, in one connection. Each capability is asked for once: nbdkit-plugin(3). */
import { after, isPromise, promiseOf } from "../api/awaitable.ts";
import type { Callback } from "../api/generated/callbacks.gen.ts";
import { supports } from "../api/generated/constants.gen.ts";
import type { Awaitable, NextOps } from "../api/generated/methods.gen.ts";
import { type BlockSize, checkBlockSize, checkBlockSizeRange } from "../lib/block-size.ts";
import { NbdError } from "../lib/errors.ts";
import { methodName, oddAnswer } from "./answers.ts";
import { type Caller, layerBelow } from "./calls.ts";
import { attempt } from "./failure.ts";
import type { Layer } from "./layer.ts";
import type { Life } from "./life.ts";
import type { Link } from "./link.ts";
import { type Capability, rowOf } from "./methods.ts";
import { windowOf } from "./window.ts";

export type AnswerTo<C extends Capability> = Awaited<ReturnType<NextOps[C]>>;

export type Answers = { -readonly [C in Capability]?: AnswerTo<C> };

export class Capabilities {
  readonly #link: Link;
  readonly #life: Life;
  /** What the layer has answered, until it is closed. */
  answers: Answers = {};
  /** Answers that the layer gives later. */
  #pending = new Map<Capability, Promise<unknown>>();
  /** The size as a number if that is exact, else -1. Numbers compare far faster than bigints. */
  exactSize = -1;
  /** Where the layer's window begins in the layer below. */
  windowOffset: bigint | undefined;

  constructor(link: Link, life: Life) {
    this.#link = link;
    this.#life = life;
  }

  /** Forget all, so that the layer can be opened again. */
  reset(): void {
    this.answers = {};
    this.#pending = new Map();
    this.exactSize = -1;
    this.windowOffset = undefined;
  }

  /** Whether the range lies within the size, if that is known. */
  covers(count: number, offset: bigint): boolean {
    if (count <= 0 || typeof offset !== "bigint") return false;
    const exactSize = this.exactSize;
    if (exactSize >= 0) {
      // Exact: an `offset` that is too large for a safe integer is also larger than the size.
      const at = Number(offset);
      return at >= 0 && at + count <= exactSize;
    }
    const size = this.answers.getSize;
    return size !== undefined && offset >= 0n && offset + BigInt(count) <= size;
  }

  /** Where the layer below has what this layer has at `offset`, if this layer passes requests on. */
  offsetBelow(offset: bigint): bigint {
    const start = this.windowOffset;
    return start === undefined ? offset : offset + start;
  }

  /** Ask for the capability, unless the answers to others settle it. If one comes later, ask again once it is there. */
  ask<C extends Capability>(caller: Caller, key: C): Awaitable<AnswerTo<C>> {
    const { askedIf = [], cName } = rowOf(key);
    this.#life.mustBeOpen(caller, cName);
    // A row names only capabilities with a yes or no in this column.
    for (const other of askedIf as readonly ("canWrite" | "canZero")[]) {
      const can = caller[other]();
      // The compiler cannot follow that this method returns the answer to `key`.
      if (isPromise<unknown>(can)) return can.then(() => caller[key]() as Awaitable<AnswerTo<C>>);
      if (can === false || can === "none") return this.#unasked(caller, key);
    }
    return this.#askLayer(caller, key);
  }

  /** Not remembered, as in nbdkit. Clients rarely ask. */
  exportDescription(caller: Caller): Awaitable<string | undefined> {
    const link = this.#link;
    const { layer } = link;
    const { connection } = caller;
    const cName = "export_description";
    this.#life.mustBeOpen(caller, cName);
    link.control(connection, cName);
    if (layer.exportDescription === undefined) {
      return layer.kind === "plugin" ? undefined : layerBelow(caller, cName).exportDescription();
    }
    return attempt(
      () =>
        after(
          caller.calls.ask("exportDescription", () => layer.exportDescription?.(caller)),
          (text) => link.checkedString(cName, text, connection),
        ),
      (error) => link.failure(error, cName, connection),
    );
  }

  /** The answer follows from others. As in nbdkit there is a debug line, though no layer is asked. */
  #unasked<C extends Capability>({ connection }: Caller, key: C): AnswerTo<C> {
    const { cName, returns } = rowOf(key);
    this.#link.control(connection, cName);
    // The two ways to say no.
    const no = (returns === "support" ? "none" : false) as AnswerTo<C>;
    this.answers[key] = no as Answers[C];
    return no;
  }

  /** An answer is remembered, an error is not. While a layer has not answered, it is not asked again. */
  #askLayer<C extends Capability>(caller: Caller, key: C): Awaitable<AnswerTo<C>> {
    const { cName } = rowOf(key);
    const { connection } = caller;
    const pending = this.#pending;
    // Only promises of this capability's answers are kept under its name.
    const known = pending.get(key) as Promise<AnswerTo<C>> | undefined;
    if (known !== undefined) return known;
    this.#link.control(connection, cName);
    // The layer may be closed before it answers. These answers are forgotten then.
    const { answers } = this;
    const answer = attempt(
      () =>
        after(
          caller.calls.ask(this.#methodFor(key), () => this.#answerOf(caller, key)),
          (found) => {
            answers[key] = found as Answers[C];
            return found;
          },
        ),
      (error) => this.#link.failure(error, cName, connection),
    );
    if (!isPromise(answer)) return answer;
    pending.set(key, answer);
    const end = (): void => void pending.delete(key);
    promiseOf(answer).then(end, end);
    return answer;
  }

  /** The method that the layer is asked by, as messages name it. */
  #methodFor(key: Capability): string {
    return key === "getSize" && this.#link.layer.window !== undefined ? "window" : key;
  }

  /** The layer's own answer, that of the layer below, or a plugin's default. */
  #answerOf<C extends Capability>(caller: Caller, key: C): Awaitable<AnswerTo<C>> {
    const { layer } = this.#link;
    const own: ((caller: Caller) => Awaitable<unknown>) | undefined = layer[key];
    const row = rowOf(key);
    if (own === undefined && layer.kind === "plugin" && row.default !== undefined) {
      return defaultOf(layer, row) as AnswerTo<C>;
    }
    const answer =
      key === "getSize" && layer.window !== undefined
        ? this.#windowSize(caller)
        : own === undefined
          ? layerBelow(caller, key)[key]()
          : own.call(layer, caller);
    // Only answers of the row's type get through the check.
    return after(answer, (found: unknown) => this.#checked(row, found) as AnswerTo<C>);
  }

  #windowSize(caller: Caller): Awaitable<bigint> {
    return after(layerBelow(caller, "getSize").getSize(), (size) =>
      after(windowOf(this.#link, caller, size), (window) => {
        this.windowOffset = window.offset;
        return window.size;
      }),
    );
  }

  #checked({ cName, returns }: Callback, answer: unknown): unknown {
    const { layer } = this.#link;
    switch (returns) {
      case "bool":
        if (typeof answer === "boolean") return answer;
        throw oddAnswer(layer, cName, answer, "true or false");
      case "support":
        if (typeof answer === "string" && Object.hasOwn(supports, answer)) return answer;
        throw oddAnswer(layer, cName, answer, `one of ${Object.keys(supports).join(", ")}`);
      case "size":
        return this.#checkedSize(cName, answer);
      case "block-size":
        return checkedBlockSize(layer, cName, answer);
      default:
        throw new Error(`${cName} is not a capability`);
    }
  }

  #checkedSize(cName: string, size: unknown): bigint {
    if (typeof size !== "bigint" || size < 0n || size > 0x7fffffffffffffffn) {
      throw oddAnswer(this.#link.layer, cName, size, {
        c: "0 to 9223372036854775807",
        typescript: "a bigint from 0n to 9223372036854775807n",
      });
    }
    this.exactSize = size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : -1;
    return size;
  }
}

/** The answer of a plugin that has no such method. */
function defaultOf(plugin: Layer, { default: otherwise, defaultWith }: Callback): unknown {
  if (defaultWith === undefined) return otherwise;
  // The column names another method of layers.
  const has = plugin[defaultWith.has as keyof Layer] !== undefined;
  return has ? defaultWith.answer : otherwise;
}

function checkedBlockSize(layer: Layer, cName: string, answer: unknown): BlockSize {
  if (typeof answer !== "object" || answer === null) {
    throw oddAnswer(layer, cName, answer, "an object of minimum, preferred and maximum");
  }
  // The check below rejects any of the three that is not a number.
  const size = answer as BlockSize;
  // As in nbdkit, a filter may go beyond the rules: the cow filter does for large blocks.
  const wrong = layer.kind === "plugin" ? checkBlockSize(size) : checkBlockSizeRange(size);
  if (wrong === undefined) return size;
  throw new NbdError("EINVAL", `${layer.name}: ${methodName(layer, cName)} returned a ${wrong}`);
}
