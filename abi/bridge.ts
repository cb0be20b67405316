/** The JavaScript end of the native runtime: request threads, their messages, and what C calls upward. */
import { CString, JSCallback, type Pointer, toArrayBuffer } from "bun:ffi";

import { ConfigError, NbdError } from "#api";
import type { ConnectionInfo } from "#chain/layer";
import { errnoName, errnos } from "#lib/errno";
import { log } from "#lib/log";

import { layouts } from "./generated/layouts.gen.ts";
import type { Awaitable } from "./generated/methods.gen.ts";
import { RT_ANSWER, RT_DOWNCALL, RT_MAX_SLOTS } from "./generated/ops.gen.ts";
import { type Native, openRuntime } from "./native-runtime.ts";
import { type Call, type Parked, RequestThread, type Result } from "./request-thread.ts";
import { Share, type ThreadMaker, ThreadPool } from "./thread-pool.ts";

const words = layouts.slot.size / 4;
const inWords = layouts.slot.fields.in.offset / 4;
const nextWords = layouts.slot.fields.next.offset / 4;
const outWords = [
  layouts.slot.fields.out_0.offset / 4,
  layouts.slot.fields.out_1.offset / 4,
] as const;
const at = Object.fromEntries(
  Object.entries(layouts.message.fields).map(([name, { offset }]) => [name, offset / 4]),
) as Readonly<Record<keyof typeof layouts.message.fields, number>>;
const high = 2 ** 32;
/** Poll only while C owes so few replies. */
const pollAtMost = 2;
const pollMicroseconds = 60;

/** Who is called by `next->…` through one nxdata. Returns what C shall see; throws NbdError to fail. */
export type Upcalled = (parked: Parked, message: Message) => Awaitable<bigint | number | void>;

/** An upcall's arguments. They must be read before the first await. */
export interface Message {
  readonly op: number;
  readonly offset: bigint;
  readonly count: number;
  readonly flags: number;
  readonly int: number;
  /** A string argument, copied. */
  text(field: "key" | "value"): string;
  /** The buffer of `count` bytes, in C's own memory: valid until the upcall is answered. */
  buf(): Uint8Array;
}

export class Bridge implements ThreadMaker {
  readonly native: Native;
  readonly #u32: Uint32Array;
  readonly #i64: BigInt64Array;
  readonly #u64: BigUint64Array;
  readonly #threads: (RequestThread | undefined)[] = [];
  readonly #pool = new ThreadPool(this);
  readonly #shares = new WeakMap<ConnectionInfo, Share>();
  readonly #targets = new Map<number, Upcalled>();
  readonly #found = new Uint32Array(new ArrayBuffer(4 * 512));
  readonly #kicks = new Uint32Array(new ArrayBuffer(4 * RT_MAX_SLOTS));
  #kicked = 0;
  /** Messages to which C has not replied. */
  #inC = 0;
  /** How many more fruitless polls there may be in a row. */
  #patience = 0;
  #skippedPolls = 0;
  #nextTarget = 1;
  #lifecycle: RequestThread | undefined;
  #started = 0;

  constructor() {
    this.native = openRuntime();
    const wake = new JSCallback(() => this.drain(), {
      args: [],
      returns: "void",
      threadsafe: true,
    });
    if (wake.ptr === null || this.native.rt_start(RT_MAX_SLOTS, wake.ptr) !== 0) {
      throw new ConfigError("the native runtime cannot start: out of memory");
    }
    const slots = this.native.rt_slots();
    if (slots === null) throw new ConfigError("the native runtime cannot start: no slots");
    const memory = toArrayBuffer(slots, 0, RT_MAX_SLOTS * layouts.slot.size);
    this.#u32 = new Uint32Array(memory);
    this.#i64 = new BigInt64Array(memory);
    this.#u64 = new BigUint64Array(memory);
    this.native.rt_set_verbose(log.verbose ? 1 : 0);
  }

  // ---- threads

  /** Run a life-cycle callback: all of them on one thread, one after the other. */
  async lifecycle(call: Call): Promise<Result> {
    this.#lifecycle ??= this.newThread();
    if (this.#lifecycle === undefined) throw new ConfigError("no native thread can be started");
    // Nothing else keeps the process alive before it listens: the wake-up does not.
    const alive = setInterval(() => {}, 2 ** 30);
    try {
      // Within the config of a filter, that of the layers below is called on top of it.
      return await (this.#lifecycle.parked ?? this.#lifecycle).call(call);
    } finally {
      clearInterval(alive);
    }
  }

  /** Run a callback of `connection` on the thread that is parked for it, or on one of the at most `limit` threads of the connection. */
  call(
    connection: ConnectionInfo,
    parked: Parked | undefined,
    limit: number,
    call: Call,
  ): Promise<Result> {
    if (parked?.active === true) return parked.call(call);
    let share = this.#shares.get(connection);
    if (share === undefined) {
      this.#shares.set(connection, (share = new Share(this.#pool, limit)));
    }
    return share.call(call);
  }

  newThread(): RequestThread | undefined {
    const slot = this.native.rt_thread_new();
    if (slot < 0) {
      if (this.#started === 0) log.error(`no native thread can be started: ${errnoName(-slot)}`);
      return undefined;
    }
    this.#started++;
    return this.#threadOf(slot);
  }

  endThread(thread: RequestThread): void {
    this.#threads[thread.slot] = undefined;
    this.native.rt_thread_end(thread.slot);
  }

  #threadOf(slot: number): RequestThread {
    return (this.#threads[slot] ??= new RequestThread(this, slot));
  }

  // ---- messages to threads

  sendCall(slot: number, call: Call, address: number): void {
    this.#putCall(slot * words + inWords, call, address);
    this.#kick(slot);
  }

  sendNext(slot: number, call: Call, address: number): void {
    this.#putCall(slot * words + nextWords, call, address);
    this.#inC++;
    this.native.rt_post_next(slot);
  }

  takeBackNext(slot: number): boolean {
    if (this.native.rt_take_back_next(slot) === 0) return false;
    this.#inC--;
    return true;
  }

  #putCall(base: number, call: Call, address: number): void {
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
    u32[base + at.readonly] = call.readonly === true ? 1 : 0;
    this.#putPointer(base + at.key, call.key ?? 0);
    this.#putPointer(base + at.value, call.value ?? 0);
    this.#putPointer(base + at.connection, call.connection?.pointer ?? 0);
  }

  sendAnswer(slot: number, ret: bigint | number, err: number): void {
    const base = slot * words + inWords;
    this.#u32[base + at.kind] = RT_ANSWER;
    this.#u32[base + at.err] = err;
    if (typeof ret === "bigint") {
      this.#i64[(base + at.ret) / 2] = ret;
    } else {
      this.#u32[base + at.ret] = ret;
      this.#u32[base + at.ret + 1] = ret < 0 ? 0xffffffff : ret / high;
    }
    this.#kick(slot);
  }

  #putPointer(word: number, pointer: number): void {
    this.#u32[word] = pointer;
    this.#u32[word + 1] = pointer / high;
  }

  #getPointer(word: number): number {
    return (this.#u32[word] ?? 0) + (this.#u32[word + 1] ?? 0) * high;
  }

  /** All messages of one turn of the event loop are delivered together. */
  #kick(slot: number): void {
    if (this.#kicked === 0) queueMicrotask(this.#deliver);
    this.#inC++;
    this.#kicks[this.#kicked++] = slot;
  }

  readonly #deliver = (): void => {
    const n = this.#kicked;
    if (n === 0) return;
    this.#kicked = 0;
    this.native.rt_kick(this.#kicks, n);
    if (this.#inC <= pollAtMost && this.#polling()) this.#poll();
  };

  // ---- messages from threads

  /** Take in all messages that are there. */
  readonly drain = (): void => {
    for (;;) {
      const n = this.native.rt_reap(this.#found, this.#found.length);
      if (n === 0) return;
      this.#receive(n);
      this.#deliver();
    }
  };

  #receive(n: number): void {
    // What a thread of a module's own says comes unasked.
    this.#inC = Math.max(0, this.#inC - n);
    for (let i = 0; i < n; i++) {
      const found = this.#found[i] ?? 0;
      const slot = found >>> 1;
      const base = slot * words + outWords[found & 1 ? 1 : 0];
      this.#threadOf(slot).received(this.#u32[base + at.kind] ?? 0, base);
    }
  }

  /** Whether waiting has been worth while lately; where it has not, try again now and then. */
  #polling(): boolean {
    return this.#patience > 0 || ++this.#skippedPolls % 64 === 0;
  }

  /**
   * With little under way, C is back before a sleep and a wake-up would be over: look for its next
   * message for a moment, as long as that leads on.
   */
  #poll(): void {
    for (let turn = 0; turn < 4; turn++) {
      const n = this.native.rt_poll(this.#found, this.#found.length, pollMicroseconds);
      this.#patience = n > 0 ? 16 : Math.max(0, this.#patience - 1);
      if (n === 0) break;
      this.#receive(n);
      if (this.#kicked === 0) break;
      const kicked = this.#kicked;
      this.#kicked = 0;
      this.native.rt_kick(this.#kicks, kicked);
    }
    this.drain();
  }

  readResult(base: number, returnsSize: boolean): Result {
    const u32 = this.#u32;
    return {
      ret: (u32[base + at.ret] ?? 0) + ((u32[base + at.ret + 1] ?? 0) | 0) * high,
      size: returnsSize ? (this.#i64[(base + at.ret) / 2] ?? 0n) : 0n,
      stored: u32[base + at.err] ?? 0,
      errno: u32[base + at.flags] ?? 0,
    };
  }

  dispatch(
    parked: Parked,
    base: number,
    known: Uint8Array | undefined,
    knownAddress: number,
  ): Awaitable<bigint | number | void> {
    const u32 = this.#u32;
    const upcalled = this.#targets.get(u32[base + at.target] ?? 0);
    if (upcalled === undefined) {
      throw new NbdError(
        "EINVAL",
        "a C filter called the next layer of a connection that is closed",
      );
    }
    const address = this.#getPointer(base + at.buf);
    const count = u32[base + at.count] ?? 0;
    return upcalled(parked, {
      op: u32[base + at.op] ?? 0,
      offset: this.#u64[(base + at.offset) / 2] ?? 0n,
      count,
      flags: u32[base + at.flags] ?? 0,
      int: (u32[base + at.readonly] ?? 0) | 0,
      text: (field) => new CString(this.#getPointer(base + at[field]) as Pointer).toString(),
      buf: () => viewOf(address, count, known, knownAddress),
    });
  }

  /** Say what is wrong, as the layer above will not, and give C its errno. */
  report(error: unknown, logName: string | undefined): number {
    if (error instanceof NbdError) {
      if (error.message !== "") log.error(error.message, logName);
      return error.number;
    }
    log.error(error instanceof Error ? (error.stack ?? error.message) : String(error), logName);
    return errnos.EIO;
  }

  // ---- what C holds on to

  /** A target for `next->…`, and the nxdata to reach it by. */
  newTarget(upcalled: Upcalled): { readonly nxdata: number; free(): void } {
    const id = this.#nextTarget++;
    const nxdata = this.native.rt_nxdata_new(id);
    if (nxdata === null) throw new NbdError("ENOMEM", "no memory for a connection");
    this.#targets.set(id, upcalled);
    return {
      nxdata: Number(nxdata),
      free: () => {
        if (this.#targets.delete(id)) this.native.rt_nxdata_free(nxdata);
      },
    };
  }

  /** A C string that stays until `release`. */
  newString(text: string): { readonly pointer: number; release(): void } {
    const pointer = this.native.rt_strdup(text);
    if (pointer === null) throw new NbdError("ENOMEM", "no memory for a string");
    return { pointer: Number(pointer), release: () => this.native.rt_free(pointer) };
  }
}

function viewOf(
  address: number,
  count: number,
  known: Uint8Array | undefined,
  knownAddress: number,
): Uint8Array {
  if (count === 0) return new Uint8Array(0);
  // Most filters pass on the buffer that they were given: then there is a view already.
  const start = address - knownAddress;
  if (known !== undefined && start >= 0 && start + count <= known.length) {
    return start === 0 && count === known.length ? known : known.subarray(start, start + count);
  }
  return new Uint8Array(toArrayBuffer(address as Pointer, 0, count));
}
