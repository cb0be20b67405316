/** What C filters and C plugins have in common: calls, handles, and the errno of a failure. */
import { ConfigError, type Errno, NbdError } from "#api";
import { threadModels } from "#api/generated/constants.gen";
import type { ThreadModel } from "#api/generated/methods.gen";
import type { Draft, LayerContext, Visit } from "#chain/layer";
import type { BlockSize } from "#lib/block-size";
import { takeClear } from "#lib/clear-range";
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
import {
  RT_OP__PREAD_V1,
  RT_OP_BLOCK_SIZE,
  RT_OP_CLOSE,
  type RT_OP_CONFIG,
  RT_OP_PREAD,
} from "../generated/ops.gen.ts";
import type { NativeModule } from "./loaded-module.ts";

/**
 * Counts the outstanding callbacks of one layer in one connection. A TypeScript layer above may not wait for its calls,
 * so callbacks can be outstanding when the client has left. Their handle must not be freed before they return.
 */
export class OutstandingCalls {
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

  /** Resolves once no callback is outstanding. */
  async ended(): Promise<void> {
    while (this.#count > 0) {
      this.#none ??= Promise.withResolvers();
      await this.#none.promise;
      this.#none = undefined;
    }
  }
}

/** The handle of a C layer's context. */
export interface NativeHandle {
  /** What the module's open returned; 0 is NULL. */
  pointer: number;
  /** The nxdata that callbacks get; 0 in a plugin. */
  readonly nxdata: number;
  readonly connection: NativeConnection;
  /** The address of the export name that the layer was opened with, for nbdkit_export_name. */
  readonly exportName: number;
  readonly outstanding: OutstandingCalls;
  /** Free what was allocated for C. */
  free(): void;
}

/** Chooses the errno of a data callback that returned -1, by the rules of the module's kind. */
export type ErrnoRule = (result: Result) => number;

/** The word for a number of C in a table of constants; undefined if the table lacks the number. */
export function wordOf<W extends string>(
  table: Readonly<Record<W, number>>,
  number: number,
): W | undefined {
  for (const word in table) if (table[word] === number) return word;
  return undefined;
}

/** The word for NBDKIT_THREAD_MODEL_*. An unknown number becomes the strictest model, which suits every module. */
export function threadModelName(model: number): ThreadModel {
  return wordOf(threadModels, model) ?? "serialize_connections";
}

/**
 * The failure of a callback. The message is empty, since the module has already logged one by nbdkit_error. Clients get
 * that text, `reported`.
 */
export function failed(number: number, reported = ""): NbdError {
  // nbdkit sends EINVAL for a number that NBD has no error for.
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
   * Run a callback for a connection. `handle` is a parameter because a context has none before its open has returned;
   * open also gets another `nxdata`.
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
    // Only the bridge binds contexts, and it binds them to parked threads.
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
    handle.outstanding.add(result);
    return result;
  }

  /** Run a callback for a client that has not opened the layer. */
  beforeOpen<Op extends number>(
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

  /** A call for no client. */
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

  /** A callback that returns a string of its own; undefined for NULL. */
  async text(context: LayerContext, op: number): Promise<string | undefined> {
    const { ret } = await this.run(context, handleOf(context), op, undefined);
    return this.#module.bridge.textAt(Number(ret));
  }

  /** A callback for a request. */
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
    const isRead = op === RT_OP_PREAD || op === RT_OP__PREAD_V1;
    const args = dataArguments(buf, offset, flags, isRead && takeClear(buf));
    this.#mustBeDone(await this.run(context, handleOf(context), op, args));
  }

  #mustBeDone(result: Result): void {
    if (result.ret === -1) throw failed(this.#errnoRule(result), result.reason);
  }

  /** A callback that returns a number other than -1. */
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

  /** Run a callback for no client, on the life-cycle thread. */
  async lifecycle<Op extends number>(op: Op, args: ArgumentsOf<Op>, nxdata = 0): Promise<Result> {
    return this.#module.bridge.lifecycle(this.#outside(op, args, nxdata));
  }

  /** The same; -1 ends the server, with a message that names the call `what`. */
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
    // If the module has logged the reason, nbdkit adds nothing.
    if (native.rt_errors_printed() !== before) throw failed(0, reason);
    throw new ConfigError(`${this.#module.text("name")}: the module's ${what} failed`);
  }

  /** The arguments of config. C may keep both strings until the server exits: nbdkit-plugin(3), ".config". */
  setting(key: string, value: string): ArgumentsOf<typeof RT_OP_CONFIG> {
    const { bridge } = this.#module;
    const [keyString, valueString] = [bridge.newString(key), bridge.newString(value)];
    return { type: "setting", key: keyString.pointer, value: valueString.pointer };
  }
}

export function handleOf(context: LayerContext): NativeHandle {
  // Only these adapters open C layers, and their open returns this type.
  return context.handle as NativeHandle;
}

export function addClose(draft: Draft, module: NativeModule, native: NativeCalls): void {
  // As in handleOf.
  draft.handleAddress = (handle) => (handle as NativeHandle).pointer;
  draft.close = async (context) => {
    const handle = handleOf(context);
    await handle.outstanding.ended();
    try {
      if (module.has("close")) await native.run(context, handle, RT_OP_CLOSE, undefined);
    } finally {
      handle.free();
    }
  };
}

/** A draft with the texts for --help, --version and --dump-plugin. */
export function described(kind: "filter" | "plugin", module: NativeModule): Draft {
  return {
    kind,
    name: module.text("name") ?? "",
    path: module.path,
    longName: module.text("longname"),
    // Since nbdkit 1.15.1 a filter's version is that of nbdkit.
    version: module.text("version") ?? module.text("_version"),
    description: module.text("description"),
    configHelp: module.text("config_help"),
    dumpFields: [],
  };
}
