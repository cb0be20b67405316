/** An upcall, by which a C layer calls the layer below, and its answer. */
import { type Pointer, toArrayBuffer } from "bun:ffi";

import type { Awaitable } from "#api/generated/methods.gen";
import { textAt } from "#sys/text";

import type { Answer, Memory, Upcall } from "../generated/messages.gen.ts";
import type { Arguments } from "./call.ts";

/** The answer of an upcall for C: a number, possibly with more fields. */
export type Reply = bigint | number | (Partial<Answer> & Pick<Answer, "ret">);

/** The answer of an upcall, now or later. Undefined stands for 0. */
export type Answered = Awaitable<Reply | void>;

const nothingElse = { err: 0, remember: false, minimum: 0, preferred: 0, maximum: 0 } as const;

export function answerOf(reply: Reply | void): Answer {
  if (typeof reply === "object") return { ...nothingElse, ...reply };
  return { ret: reply ?? 0, err: 0, remember: false, minimum: 0, preferred: 0, maximum: 0 };
}

export function failureOf(err: number): Answer {
  return { ...nothingElse, ret: -1, err };
}

/** The thread that waits for the answer. */
interface Waiting {
  /** A buffer of C, which JavaScript may use until the answer. */
  lent: ArrayBuffer | undefined;
}

/** The message of an upcall. It must be read before the first await. */
export class Message {
  readonly op: number;
  /** The address of the struct rt_connection of the callback that makes the upcall; 0 for none. */
  readonly connection: number;
  readonly #memory: Memory;
  readonly #base: number;
  readonly #waiting: Waiting;
  readonly #args: Arguments | undefined;

  /** `args` are those of the callback that makes the upcall. */
  constructor(
    { op, connection }: Upcall,
    memory: Memory,
    base: number,
    waiting: Waiting,
    args: Arguments | undefined,
  ) {
    this.op = op;
    this.connection = connection;
    this.#memory = memory;
    this.#base = base;
    this.#waiting = waiting;
    this.#args = args;
  }

  /** The arguments, read by the reader of the op's struct. */
  read<T>(reader: (memory: Memory, base: number) => T): T {
    return reader(this.#memory, this.#base);
  }

  /** A string argument, copied. */
  text(address: number): string {
    return textAt(address as Pointer);
  }

  /** A buffer argument, which may be C's own memory: it is detached when the upcall is answered. */
  view(address: number, count: number): Uint8Array {
    const found = viewWithin(this.#args, address, count);
    if (found !== undefined) return found;
    this.#waiting.lent = toArrayBuffer(address as Pointer, 0, count);
    return new Uint8Array(this.#waiting.lent);
  }
}

/** A view of the buffer that the callback was called with, if the range lies in it. */
function viewWithin(
  args: Arguments | undefined,
  address: number,
  count: number,
): Uint8Array | undefined {
  if (count === 0) return new Uint8Array(0);
  // Most filters pass on the buffer of their own callback, which is JavaScript's memory.
  if (args?.type !== "data") return undefined;
  const start = address - args.buf;
  if (start < 0 || start + count > args.memory.length) return undefined;
  return start === 0 && count === args.memory.length
    ? args.memory
    : args.memory.subarray(start, start + count);
}
