/** A call of a C callback: what it passes, and how it comes back. */
import { ptr } from "bun:ffi";

import type { BlockSize } from "#lib/block-size";

/** The client that a call is made for. */
interface CallConnection {
  /** Address of its struct rt_connection. */
  readonly pointer: number;
  /** What log lines about it start with. */
  readonly logName: string;
}

/** What a downcall passes; the fields of struct rt_message. */
export interface Call {
  readonly op: number;
  readonly module: number;
  readonly nxdata?: number;
  readonly handle?: number;
  readonly buf?: Uint8Array;
  readonly offset?: bigint;
  readonly count?: number;
  readonly flags?: number;
  readonly readonly?: boolean;
  readonly key?: number;
  readonly value?: number;
  /** The client that it is made for. */
  readonly connection?: CallConnection;
  /** An argument of type int that is no flag, instead of `readonly`. */
  readonly int?: number;
  readonly isTls?: boolean;
  /** A struct nbdkit_extents and a struct nbdkit_exports. */
  readonly extents?: number;
  readonly exports?: number;
  /** The return value is wanted as `size`. */
  readonly returnsSize?: boolean;
  /** Gets what block_size left behind its pointers, before the call resolves. */
  readonly results?: (size: BlockSize) => void;
}

/** How a callback came back. */
export interface Result {
  /** The return value as a signed 64-bit integer; exact up to 2^53. */
  readonly ret: number;
  /** The same, exact, where the call said `returnsSize`; else 0. */
  readonly size: bigint;
  /** What nbdkit_set_error was given, or 0. */
  readonly stored: number;
  /** errno when it returned. */
  readonly errno: number;
  /** Where it failed, what it or a layer below it logged last; clients may be told it. */
  readonly said: string;
}

export interface Down {
  readonly call: Call;
  readonly address: number;
  readonly settle: (result: Result) => void;
  /** Why a layer below it has failed, where that is in TypeScript: C does not know it. */
  below?: string;
}

/** Make a record of a call and hand it to `use`; resolves when the callback has returned. */
export function downcall(call: Call, use: (down: Down) => void): Promise<Result> {
  return new Promise((settle) => {
    const { buf } = call;
    let address = 0;
    if (buf !== undefined) {
      // Touching .buffer moves the bytes to where they stay; only then may the address be taken.
      void buf.buffer;
      address = ptr(buf);
    }
    use({ call, address, settle });
  });
}
