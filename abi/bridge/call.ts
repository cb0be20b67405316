/** A call of a C callback: what it passes, and how it comes back. */
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

/** What a callback gets besides its layer's handle. */
export type Arguments = DataArguments | Exclude<AnyArguments, { readonly type: "data" }>;

/** What the callback with this number gets. Ops that are no more than numbers stand for callbacks that get nothing. */
export type ArgumentsOf<Op extends number> = Op extends keyof ArgumentTypes
  ? Extract<Arguments, { readonly type: ArgumentTypes[Op] }>
  : undefined;

/** The callbacks that move data. */
export type TransferOp = {
  [Op in keyof ArgumentTypes]: ArgumentTypes[Op] extends "data" ? Op : never;
}[keyof ArgumentTypes];

/** What a downcall passes. */
export interface Call extends Downcall {
  /** Undefined where the callback has none. */
  readonly args: Arguments | undefined;
  /** What log lines about the client start with. */
  readonly logName: string | undefined;
}

/** How a callback came back. */
export interface Result extends NativeResult {
  /** Where it failed, what it or a layer below it logged last; clients may be told it. */
  readonly reason?: string;
}

export interface Down {
  readonly call: Call;
  readonly settle: (result: Result) => void;
  /** Why a layer below it has failed, where that is in TypeScript: C does not know it. */
  below?: string;
}

/** The arguments of pread and pwrite. The memory stays where it is from now on. */
export function dataArguments(memory: Uint8Array, offset: bigint, flags: number): DataArguments {
  // Touching .buffer moves the bytes to where they stay; only then may the address be taken.
  void memory.buffer;
  return { type: "data", memory, buf: ptr(memory), offset, count: memory.length, flags };
}

/** Make a record of a call and hand it to `use`; resolves when the callback has returned. */
export function downcall(call: Call, use: (down: Down) => void): Promise<Result> {
  return new Promise((settle) => use({ call, settle }));
}
