/** Messages in memory that native threads see too: the fields of struct rt_message, written and read as words. */
import { type Pointer, toArrayBuffer } from "bun:ffi";

import type { Awaitable } from "#api/generated/methods.gen";

import { layouts } from "../generated/layouts.gen.ts";
import { RT_ANSWER, RT_DOWNCALL } from "../generated/ops.gen.ts";
import type { Call, Result } from "./call.ts";

const at = Object.fromEntries(
  Object.entries(layouts.message.fields).map(([name, { offset }]) => [name, offset / 4]),
) as Readonly<Record<keyof typeof layouts.message.fields, number>>;
const high = 2 ** 32;

/** The answer of an upcall for C: a number, or more. */
export interface Answer {
  readonly ret: bigint | number;
  /** The layer will always answer the same for this connection: C need not ask again. */
  readonly flags?: number;
  /** For block_size. */
  readonly minimum?: number;
  readonly preferred?: number;
  readonly maximum?: number;
}

export type Reply = Answer | bigint | number;

/** What an upcall comes to, now or later; nothing stands for 0. */
export type Answered = Awaitable<Reply | void>;

/** An array of messages, or of structs of messages. A message is named by the word that it starts at. */
export class MessageMemory {
  readonly #u32: Uint32Array;
  readonly #i64: BigInt64Array;
  readonly #u64: BigUint64Array;

  constructor(address: Pointer, bytes: number) {
    const memory = toArrayBuffer(address, 0, bytes);
    this.#u32 = new Uint32Array(memory);
    this.#i64 = new BigInt64Array(memory);
    this.#u64 = new BigUint64Array(memory);
  }

  putCall(base: number, call: Call, address: number): void {
    const u32 = this.#u32;
    u32[base + at.kind] = RT_DOWNCALL;
    u32[base + at.op] = call.op;
    u32[base + at.module] = call.module;
    this.#putPointer(base + at.nxdata, call.nxdata ?? 0);
    this.#putPointer(base + at.handle, call.handle ?? 0);
    this.#putPointer(base + at.buf, address);
    this.#u64[(base + at.offset) / 2] = call.offset ?? 0n;
    u32[base + at.count] = call.count ?? call.buf?.length ?? 0;
    u32[base + at.flags] = call.flags ?? 0;
    u32[base + at.readonly] = call.int ?? (call.readonly === true ? 1 : 0);
    u32[base + at.is_tls] = call.isTls === true ? 1 : 0;
    this.#putPointer(base + at.key, call.key ?? 0);
    this.#putPointer(base + at.value, call.value ?? 0);
    this.#putPointer(base + at.extents, call.extents ?? 0);
    this.#putPointer(base + at.exports, call.exports ?? 0);
    this.#putPointer(base + at.connection, call.connection?.pointer ?? 0);
  }

  putAnswer(base: number, answer: Reply, err: number): void {
    const u32 = this.#u32;
    u32[base + at.kind] = RT_ANSWER;
    u32[base + at.err] = err;
    if (typeof answer === "number") {
      u32[base + at.flags] = 0;
      u32[base + at.ret] = answer;
      u32[base + at.ret + 1] = answer < 0 ? 0xffffffff : answer / high;
    } else if (typeof answer === "bigint") {
      u32[base + at.flags] = 0;
      this.#i64[(base + at.ret) / 2] = answer;
    } else {
      this.putAnswer(base, answer.ret, err);
      u32[base + at.flags] = answer.flags ?? 0;
      u32[base + at.minimum] = answer.minimum ?? 0;
      u32[base + at.preferred] = answer.preferred ?? 0;
      u32[base + at.maximum] = answer.maximum ?? 0;
    }
  }

  readResult(base: number, returnsSize: boolean): Result {
    const u32 = this.#u32;
    return {
      ret: (u32[base + at.ret] ?? 0) + ((u32[base + at.ret + 1] ?? 0) | 0) * high,
      size: returnsSize ? (this.#i64[(base + at.ret) / 2] ?? 0n) : 0n,
      stored: u32[base + at.err] ?? 0,
      errno: u32[base + at.flags] ?? 0,
      said: "",
    };
  }

  /** The results of block_size. */
  readBlockSize(base: number): { minimum: number; preferred: number; maximum: number } {
    return {
      minimum: this.word(base, "minimum"),
      preferred: this.word(base, "preferred"),
      maximum: this.word(base, "maximum"),
    };
  }

  word(base: number, field: keyof typeof at): number {
    return this.#u32[base + at[field]] ?? 0;
  }

  u64(base: number, field: keyof typeof at): bigint {
    return this.#u64[(base + at[field]) / 2] ?? 0n;
  }

  pointer(base: number, field: keyof typeof at): number {
    return (this.#u32[base + at[field]] ?? 0) + (this.#u32[base + at[field] + 1] ?? 0) * high;
  }

  #putPointer(word: number, pointer: number): void {
    this.#u32[word] = pointer;
    this.#u32[word + 1] = pointer / high;
  }
}
