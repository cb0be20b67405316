/** A call of a C callback: its arguments and its result. */
import { ptr } from "bun:ffi";

import type {
  Arguments as AnyArguments,
  ArgumentTypes,
  Data,
  Downcall,
  Result as NativeResult,
} from "../generated/messages.gen.ts";

/** The arguments of pread and pwrite; `buf` is the address of `memory`. */
interface DataArguments extends Data {
  readonly type: "data";
  readonly memory: Uint8Array;
}

/** The arguments of a callback besides nxdata and its layer's handle. */
export type Arguments = DataArguments | Exclude<AnyArguments, { readonly type: "data" }>;

/** The arguments of the callback `Op`. An op of type `number`, as in loops over the table, stands for none. */
export type ArgumentsOf<Op extends number> = Op extends keyof ArgumentTypes
  ? Extract<Arguments, { readonly type: ArgumentTypes[Op] }>
  : undefined;

/** The callbacks that move data. */
export type TransferOp = {
  [Op in keyof ArgumentTypes]: ArgumentTypes[Op] extends "data" ? Op : never;
}[keyof ArgumentTypes];

/** A downcall and its arguments. */
export interface Call extends Downcall {
  /** Undefined for callbacks without arguments. */
  readonly args: Arguments | undefined;
  /** The prefix of log lines about the client. */
  readonly logName: string | undefined;
}

/** The result of a callback. */
export interface Result extends NativeResult {
  /** If it failed, the last message that it or a layer below it logged. Clients may get it. */
  readonly reason?: string;
}

/** A call that has not returned. */
export interface PendingCall {
  readonly call: Call;
  readonly settle: (result: Result) => void;
  /** The message of a TypeScript layer below it that has failed: C gets only a number. */
  failureBelow?: string;
}

/** The arguments of pread and pwrite. From now on the memory does not move. `isClear`: it holds only zeroes. */
export function dataArguments(
  memory: Uint8Array,
  offset: bigint,
  flags: number,
  isClear: boolean,
): DataArguments {
  // Small typed arrays move. Touching .buffer gives this one its final address.
  void memory.buffer;
  const count = memory.length;
  return { type: "data", memory, buf: ptr(memory), offset, count, flags, isClear: isClear ? 1 : 0 };
}

/** Pass a new pending call to `use`. Resolves when the callback has returned. */
export function downcall(call: Call, use: (pending: PendingCall) => void): Promise<Result> {
  return new Promise((settle) => use({ call, settle }));
}
