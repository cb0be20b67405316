/** An upcall as JavaScript sees it: what a C layer asks of the one below, and what it gets. */
import { type Pointer, toArrayBuffer } from "bun:ffi";

import type { Awaitable } from "#api/generated/methods.gen";
import { textAt } from "#sys/text";

import type { Answer, Memory, Upcall } from "../generated/messages.gen.ts";
import type { Arguments } from "./call.ts";

/** The answer of an upcall for C: a number, or more. */
export type Reply = bigint | number | (Partial<Answer> & Pick<Answer, "ret">);

/** What an upcall comes to, now or later; nothing stands for 0. */
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
  /** C's memory, which it has lent to JavaScript until then. */
  lent: ArrayBuffer | undefined;
}

/** A message with an upcall. It must be read before the first await. */
export class Message {
  readonly op: number;
  /** Address of the struct rt_connection of the callback that asks; 0 is none. */
  readonly connection: number;
  readonly #memory: Memory;
  readonly #base: number;
  readonly #waiting: Waiting;
  readonly #known: Arguments | undefined;

  /** `known` are the arguments of the callback that asks. */
  constructor(
    { op, connection }: Upcall,
    memory: Memory,
    base: number,
    waiting: Waiting,
    known: Arguments | undefined,
  ) {
    this.op = op;
    this.connection = connection;
    this.#memory = memory;
    this.#base = base;
    this.#waiting = waiting;
    this.#known = known;
  }

  /** The arguments, by the reader of the struct that the op has. */
  read<T>(reader: (memory: Memory, base: number) => T): T {
    return reader(this.#memory, this.#base);
  }

  /** A string argument, copied. */
  text(address: number): string {
    return textAt(address as Pointer);
  }

  /** A buffer argument, which may be C's own memory: it is detached when the upcall is answered. */
  view(address: number, count: number): Uint8Array {
    const found = knownView(address, count, this.#known);
    if (found !== undefined) return found;
    this.#waiting.lent = toArrayBuffer(address as Pointer, 0, count);
    return new Uint8Array(this.#waiting.lent);
  }
}

/** The view of memory that is JavaScript's own. */
function knownView(
  address: number,
  count: number,
  known: Arguments | undefined,
): Uint8Array | undefined {
  if (count === 0) return new Uint8Array(0);
  if (known?.type !== "data") return undefined;
  // Most filters pass on the buffer that they were given: then there is a view already.
  const start = address - known.buf;
  if (start < 0 || start + count > known.memory.length) return undefined;
  return start === 0 && count === known.memory.length
    ? known.memory
    : known.memory.subarray(start, start + count);
}
