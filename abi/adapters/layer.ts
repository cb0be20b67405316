/** What C filters and C plugins have in common: calls by message, handles, and what -1 means. */
import { ConfigError, type Errno, NbdError } from "#api";
import { threadModels } from "#api/generated/constants.gen";
import type { ThreadModel } from "#api/generated/methods.gen";
import type { Draft, LayerContext, Visit } from "#chain/layer";
import type { BlockSize } from "#lib/block-size";
import { errnoName } from "#lib/errno";

import {
  type Arguments,
  type ArgumentsOf,
  type Call,
  dataArguments,
  type Result,
  type TransferOp,
} from "../bridge/call.ts";
import type { NativeConnection } from "../bridge/connection.ts";
import { Parked } from "../bridge/request-thread.ts";
import { RT_OP_BLOCK_SIZE, RT_OP_CLOSE, type RT_OP_CONFIG } from "../generated/ops.gen.ts";
import type { NativeModule } from "./loaded-module.ts";

/**
 * The callbacks of one layer that are under way in C. A layer in TypeScript need not wait for what
 * it asks of the layers below, so that they may be under way when the client is gone already; C
 * would be given what was freed.
 */
export class UnderWay {
  #count = 0;
  #none: PromiseWithResolvers<void> | undefined;

  readonly #leave = (): void => {
    this.#count--;
    if (this.#count === 0) this.#none?.resolve();
  };

  add(callback: Promise<unknown>): void {
    this.#count++;
    callback.then(this.#leave, this.#leave);
  }

  /** Resolves when there are none. */
  async none(): Promise<void> {
    while (this.#count > 0) {
      this.#none ??= Promise.withResolvers();
      await this.#none.promise;
      this.#none = undefined;
    }
  }
}

/** What a C layer's context has for a handle. */
export interface NativeHandle {
  /** What the module's open returned; 0 is NULL. */
  pointer: number;
  /** What it gets as nxdata; 0 in a plugin. */
  readonly nxdata: number;
  readonly connection: NativeConnection;
  /** The name with which the layer was opened, where C finds it for nbdkit_export_name. */
  readonly exportName: number;
  readonly underWay: UnderWay;
  /** Give back what C was lent. */
  free(): void;
}

/** Chooses the errno of a data callback that returned -1, by the rules of the module's kind. */
export type ErrnoRule = (result: Result) => number;

/** The word for a number of C in one of the tables of constants; undefined where it has none. */
export function wordOf<W extends string>(
  table: Readonly<Record<W, number>>,
  number: number,
): W | undefined {
  for (const word in table) if (table[word] === number) return word;
  return undefined;
}

/** The word for NBDKIT_THREAD_MODEL_*. A number that is none of them is the model that suits every module. */
export function threadModelName(model: number): ThreadModel {
  return wordOf(threadModels, model) ?? "serialize_connections";
}

/**
 * The failure of a callback. Its message is empty, for "already reported": the module has said with
 * nbdkit_error what it has to say, which clients are told.
 */
export function failed(number: number, reported = ""): NbdError {
  // A number that means nothing is what nbdkit tells clients of it.
  const name: Errno = number === 0 ? "EIO" : errnoName(number, "EINVAL");
  return new NbdError(name, "", { reported });
}

export class NativeCalls {
  readonly #module: NativeModule;
  readonly #errnoRule: ErrnoRule;

  constructor(module: NativeModule, errnoRule: ErrnoRule) {
    this.#module = module;
    this.#errnoRule = errnoRule;
  }

  /**
   * Run a callback for a connection. `handle` is passed explicitly while open has not returned yet; `nxdata` is another
   * one than the handle's in open.
   */
  run<Op extends number>(
    context: LayerContext,
    handle: NativeHandle,
    op: Op,
    args: ArgumentsOf<Op>,
    nxdata = handle.nxdata,
  ): Promise<Result> {
    const { bridge, module, threads } = this.#module;
    const { connection, exportName, pointer } = handle;
    // Contexts are bound by the bridge only, and to parked threads.
    const parked = context.thread instanceof Parked ? context.thread : undefined;
    const call: Call = {
      op,
      module,
      connection: connection.pointer,
      nxdata,
      handle: pointer,
      exportName,
      args,
      logName: connection.logName,
    };
    const result = bridge.call(connection, parked, threads, call);
    handle.underWay.add(result);
    return result;
  }

  /** The same for a client that has opened nothing. */
  visit<Op extends number>(
    { thread }: Visit,
    connection: NativeConnection,
    op: Op,
    args: ArgumentsOf<Op>,
    nxdata: number,
  ): Promise<Result> {
    const { bridge, threads } = this.#module;
    const parked = thread instanceof Parked ? thread : undefined;
    const { pointer, logName } = connection;
    const call = { ...this.#outside(op, args, nxdata), connection: pointer, logName };
    return bridge.call(connection, parked, threads, call);
  }

  /** A call outside of a client's connection. */
  #outside(op: number, args: Arguments | undefined, nxdata: number): Call {
    const { module } = this.#module;
    const noClient = { connection: 0, handle: 0, exportName: 0, logName: undefined };
    return { op, module, nxdata, args, ...noClient };
  }

  async blockSize(context: LayerContext): Promise<BlockSize> {
    const result = await this.run(context, handleOf(context), RT_OP_BLOCK_SIZE, undefined);
    if (result.ret === -1) throw failed(0, result.reason);
    const { minimum, preferred, maximum } = result;
    return { minimum, preferred, maximum };
  }

  /** A string that the module keeps; undefined for NULL. */
  async text(context: LayerContext, op: number): Promise<string | undefined> {
    const { ret } = await this.run(context, handleOf(context), op, undefined);
    return this.#module.bridge.textAt(Number(ret));
  }

  /** A data callback. */
  async data<Op extends number>(
    context: LayerContext,
    op: Op,
    args: ArgumentsOf<Op>,
  ): Promise<void> {
    this.#mustBeDone(await this.run(context, handleOf(context), op, args));
  }

  /** pread or pwrite. */
  async transfer(
    context: LayerContext,
    op: TransferOp,
    buf: Uint8Array,
    offset: bigint,
    flags: number,
  ): Promise<void> {
    const args = dataArguments(buf, offset, flags);
    this.#mustBeDone(await this.run(context, handleOf(context), op, args));
  }

  #mustBeDone(result: Result): void {
    if (result.ret === -1) throw failed(this.#errnoRule(result), result.reason);
  }

  /** A callback of type int that answers a question, or prepares or finalizes. */
  async number<Op extends number>(
    context: LayerContext,
    op: Op,
    args: ArgumentsOf<Op>,
  ): Promise<number> {
    const result = await this.run(context, handleOf(context), op, args);
    if (result.ret === -1) throw failed(0, result.reason);
    return Number(result.ret);
  }

  async size(context: LayerContext, op: number): Promise<bigint> {
    const result = await this.run(context, handleOf(context), op, undefined);
    if (result.ret === -1) throw failed(0, result.reason);
    return BigInt(result.ret);
  }

  /** A callback without a connection, on the life-cycle thread. */
  async lifecycle<Op extends number>(op: Op, args: ArgumentsOf<Op>, nxdata = 0): Promise<Result> {
    return this.#module.bridge.lifecycle(this.#outside(op, args, nxdata));
  }

  /** The same; -1 ends the server. `what` is how the message names the call. */
  async lifecycleOrExit<Op extends number>(
    what: string,
    op: Op,
    args: ArgumentsOf<Op>,
    nxdata = 0,
  ): Promise<number> {
    const { native } = this.#module.bridge;
    const before = native.rt_errors_printed();
    const { ret, reason } = await this.lifecycle(op, args, nxdata);
    if (ret !== -1) return Number(ret);
    // Most modules say what is wrong, and nbdkit adds nothing to that.
    if (native.rt_errors_printed() !== before) throw failed(0, reason);
    throw new ConfigError(`${this.#module.text("name")}: the module's ${what} failed`);
  }

  /** Key and value for C to keep until the server exits: nbdkit-plugin(3), ".config". */
  setting(key: string, value: string): ArgumentsOf<typeof RT_OP_CONFIG> {
    const { bridge } = this.#module;
    const [keyString, valueString] = [bridge.newString(key), bridge.newString(value)];
    return { type: "setting", key: keyString.pointer, value: valueString.pointer };
  }
}

export function handleOf(context: LayerContext): NativeHandle {
  // Only these adapters open C layers, and this is what their open returns.
  return context.handle as NativeHandle;
}

export function addClose(draft: Draft, module: NativeModule, native: NativeCalls): void {
  // As in handleOf.
  draft.handleAddress = (handle) => (handle as NativeHandle).pointer;
  draft.close = async (context) => {
    const handle = handleOf(context);
    await handle.underWay.none();
    try {
      if (module.has("close")) await native.run(context, handle, RT_OP_CLOSE, undefined);
    } finally {
      handle.free();
    }
  };
}

/** What --help, --version and --dump-plugin show. */
export function described(kind: "filter" | "plugin", module: NativeModule): Draft {
  return {
    kind,
    name: module.text("name") ?? "",
    path: module.path,
    longName: module.text("longname"),
    // Since nbdkit 1.15.1 a filter's version is that of its nbdkit.
    version: module.text("version") ?? module.text("_version"),
    description: module.text("description"),
    configHelp: module.text("config_help"),
    dumpFields: [],
  };
}
