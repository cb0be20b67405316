/** The JavaScript end of the native runtime: native threads, messages to and from them, and upcalls. */
import { JSCallback, type Pointer, toArrayBuffer } from "bun:ffi";

import { ConfigError, NbdError } from "#api";
import { type Callback, callbacks } from "#api/generated/callbacks.gen";
import { logFailure } from "#chain/failure";
import { errnoName, errnos, errnoText } from "#lib/errno";
import { log, watchErrorTarget } from "#lib/log";
import { streamsTaken } from "#lib/standard-streams";
import { askToStop, serverStops } from "#lib/stopping";
import { stackOf } from "#lib/thrown";
import { onProtectedDescriptors } from "#sys/protected-descriptors";
import { cString, textAt } from "#sys/text";

import { layouts } from "../generated/layouts.gen.ts";
import {
  type Answer,
  Memory,
  readKind,
  readResult,
  readUpcall,
  type Upcall,
  writeAnswer,
  writeArguments,
  writeDowncall,
} from "../generated/messages.gen.ts";
import * as op from "../generated/ops.gen.ts";
import { runtimeCallbacks } from "../generated/symbols.gen.ts";
import { type Native, openRuntime } from "../runtime/native-runtime.ts";
import { CallNumbers } from "./call-numbers.ts";
import { CallQueue, type QueueLink } from "./call-queue.ts";
import type { Arguments, Call, PendingCall, Result } from "./call.ts";
import type { NativeConnection } from "./connection.ts";
import {
  mostSpareThreads,
  polledReplies,
  pollMicroseconds,
  pollPatience,
  pollRetry,
  pollsInRow,
  reapedAtOnce,
} from "./limits.ts";
import { onShownPid } from "./module-pid.ts";
import { type Parked, RequestThread, type ThreadLink } from "./request-thread.ts";
import { type Answered, Message } from "./upcall.ts";

const slotWords = layouts.slot.size / 4;
const inWords = layouts.slot.fields.in.offset / 4;
const outWords = layouts.slot.fields.out.offset / 4;
const messageWords = layouts.message.size / 4;
const NO_MODULE = -1;
/** The callbacks for requests, which may run in parallel on other threads than the rest. */
const requestOps: ReadonlySet<number> = new Set(
  Object.values<Callback>(callbacks)
    .filter(({ flags, replacedBy }) => flags !== undefined || replacedBy !== undefined)
    .map((row) => row.op),
);

/** Answers the upcalls through one nxdata. Throws NbdError to let C's call fail. */
export type UpcallHandler = (message: Message, parked: Parked) => Answered;

export class Bridge implements ThreadLink, QueueLink {
  readonly native: Native;
  readonly #slots: Memory;
  readonly #calls: Memory;
  readonly #threads: (RequestThread | undefined)[] = [];
  readonly #numbers = new CallNumbers(op.RT_MAX_CALLS);
  readonly #handlers = new Map<number, UpcallHandler>();
  readonly #found = new Uint32Array(new ArrayBuffer(4 * reapedAtOnce));
  readonly #kicks = new Uint32Array(new ArrayBuffer(4 * op.RT_MAX_SLOTS));
  #kicked = 0;
  /** Messages that C has not replied to. */
  #inC = 0;
  /** Polls in vain that may still follow, until polling stops. */
  #patience = 0;
  #skippedPolls = 0;
  #nextHandler = 1;
  #lifecycle: RequestThread | undefined;
  /** Threads of closed connections. */
  readonly #spare: RequestThread[] = [];

  constructor() {
    this.native = openRuntime();
    const wake = new JSCallback(() => this.drain(), {
      ...runtimeCallbacks.wake,
      threadsafe: true,
    });
    if (wake.ptr === null || this.native.rt_start(op.RT_MAX_SLOTS, wake.ptr) !== 0) {
      throw new ConfigError("the native runtime cannot start: out of memory");
    }
    const slots = this.native.rt_slots();
    const calls = this.native.rt_calls();
    if (slots === null || calls === null) {
      throw new ConfigError("the native runtime cannot start: no memory for messages");
    }
    // Addresses of user space are safe integers, so they are never the bigints of the type.
    this.#slots = memoryAt(slots as Pointer, op.RT_MAX_SLOTS * layouts.slot.size);
    this.#calls = memoryAt(calls as Pointer, op.RT_MAX_CALLS * layouts.message.size);
    this.native.rt_set_verbose(log.verbose ? 1 : 0);
    serverStops.addEventListener("abort", () => this.native.rt_server_ends(1));
    this.#followProcess();
  }

  /** Keep process-wide state up to date in C: the destination of errors, and the owner of stdin and stdout. */
  #followProcess(): void {
    onProtectedDescriptors((fd) => this.native.rt_protect_descriptor(fd));
    onShownPid((pid) => this.native.rt_set_pid(pid));
    watchErrorTarget((target) => {
      if (target === "nowhere") this.native.rt_send_errors(op.RT_ERRORS_NOWHERE);
      else this.native.rt_send_errors("fd" in target ? target.fd : op.RT_ERRORS_TO_SYSLOG);
    });
    const taken = (): void => this.native.rt_set_stdio_safe(0);
    if (streamsTaken.aborted) taken();
    else streamsTaken.addEventListener("abort", taken);
    const asked = new JSCallback(askToStop, { ...runtimeCallbacks.asked, threadsafe: true });
    if (asked.ptr !== null) this.native.rt_on_shutdown(asked.ptr);
  }

  // ---- threads

  /** Run a life-cycle callback. One thread runs all of them, one after the other. */
  async lifecycle(call: Call): Promise<Result> {
    const thread = this.#lifecycleThread();
    // A threadsafe callback does not keep the process alive, and the server may not listen yet.
    const alive = setInterval(() => {}, 2 ** 30);
    try {
      // Within a filter's config, the config of the layers below runs on top of it.
      return await (thread.parked ?? thread).call(call);
    } finally {
      clearInterval(alive);
    }
  }

  /** The slot of the thread that loads modules: the life-cycle thread if it is idle, else -1. */
  loadingSlot(): number {
    const thread = this.#lifecycleThread();
    return thread.idle ? thread.slot : -1;
  }

  #lifecycleThread(): RequestThread {
    return (this.#lifecycle ??= this.#newThread());
  }

  /**
   * Run a callback for `connection`: on the thread that is parked for the request, or on a thread of its queue, which
   * may have at most `limit` threads.
   */
  call(
    connection: NativeConnection,
    parked: Parked | undefined,
    limit: number,
    call: Call,
  ): Promise<Result> {
    if (parked?.active === true) return parked.call(call);
    const { lifecycleThread } = connection.info;
    const queue = (connection.queue ??= new CallQueue(this, limit));
    if (lifecycleThread !== undefined) {
      return this.#pinned(this.#lifecycleThread(), queue, lifecycleThread, call);
    }
    // Decided once. Null stands for no thread of its own.
    if (connection.thread === undefined) connection.thread = this.#ownThread(connection);
    const { thread } = connection;
    return thread === null ? queue.call(call) : this.#pinned(thread, queue, "all", call);
  }

  /**
   * Run a callback on the same thread as nbdkit, since modules may keep state per thread. While that thread is parked,
   * other threads run the calls.
   */
  #pinned(
    thread: RequestThread,
    queue: CallQueue,
    runs: "all" | "control",
    call: Call,
  ): Promise<Result> {
    if ((runs === "control" && requestOps.has(call.op)) || thread.parked !== undefined) {
      return queue.call(call);
    }
    thread.overflow = queue;
    return thread.call(call);
  }

  /** A thread for this connection alone, if it has to have one and a thread is left. */
  #ownThread({ info }: NativeConnection): RequestThread | null {
    if (info.ownThread?.() !== true) return null;
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare;
    const slot = this.native.rt_thread_new();
    return slot < 0 ? null : this.#threadOf(slot);
  }

  /** Keep the thread of a closed connection for the next one, or end it. */
  returnThread(thread: RequestThread): void {
    thread.overflow = undefined;
    if (this.#spare.length < mostSpareThreads) this.#spare.push(thread);
    else this.native.rt_thread_end(thread.slot);
  }

  #newThread(): RequestThread {
    const slot = this.native.rt_thread_new();
    if (slot < 0) throw new ConfigError(noThread(-slot));
    return this.#threadOf(slot);
  }

  #threadOf(slot: number): RequestThread {
    return (this.#threads[slot] ??= new RequestThread(this, slot));
  }

  // ---- messages to threads

  sendCall(slot: number, call: Call): void {
    putCall(this.#slots, slot * slotWords + inWords, call);
    this.#kick(slot);
  }

  sendAnswer(slot: number, answer: Answer): void {
    writeAnswer(this.#slots, slot * slotWords + inWords, answer);
    this.#kick(slot);
  }

  newQueue(limit: number): Pointer {
    const queue = this.native.rt_queue_new(limit);
    if (queue === null) throw new NbdError("ENOMEM", "no memory for a connection");
    return queue as Pointer;
  }

  freeQueue(queue: Pointer): void {
    this.native.rt_queue_free(queue);
  }

  newCall(pending: PendingCall, owner: CallQueue): number | undefined {
    const number = this.#numbers.assign(pending, owner);
    if (number === undefined) return undefined;
    putCall(this.#calls, number * messageWords, pending.call);
    return number;
  }

  submit(queue: Pointer, calls: Uint32Array, n: number): void {
    const err = this.native.rt_submit(queue, calls, n);
    if (err !== 0) {
      for (const number of calls.slice(0, n)) this.#refused(number, err);
      return;
    }
    this.#inC += n;
    if (this.#kicked === 0 && this.#inC <= polledReplies) queueMicrotask(this.#deliver);
  }

  /** Deliver the message together with the others of this turn of the event loop. */
  #kick(slot: number): void {
    if (this.#kicked === 0) queueMicrotask(this.#deliver);
    this.#inC++;
    this.#kicks[this.#kicked++] = slot;
  }

  readonly #deliver = (): void => {
    const n = this.#kicked;
    this.#kicked = 0;
    if (n > 0) this.native.rt_kick(this.#kicks, n);
    if (this.#inC > 0 && this.#inC <= polledReplies && this.#pollPays()) this.#poll();
  };

  // ---- messages from threads

  /** Handle all messages of C that have arrived. */
  readonly drain = (): void => {
    for (;;) {
      const n = this.native.rt_reap(this.#found, this.#found.length);
      if (n === 0) return;
      this.#receive(n);
      this.#deliver();
    }
  };

  #receive(n: number): void {
    // Threads of modules send messages without a downcall.
    this.#inC = Math.max(0, this.#inC - n);
    for (let i = 0; i < n; i++) {
      const found = this.#found[i] ?? 0;
      if (found >= op.RT_CALL_BIT) this.#returned(found - op.RT_CALL_BIT);
      else this.#slotMessage(found);
    }
  }

  #returned(number: number): void {
    const numbered = this.#numbers.release(number);
    if (numbered === undefined) return;
    const { pending, owner } = numbered;
    pending.settle(this.#result(this.#calls, number * messageWords, pending));
    owner.returned();
    this.#numbers.resumeNext();
  }

  /** C could not begin the call. */
  #refused(number: number, err: number): void {
    const numbered = this.#numbers.release(number);
    if (numbered === undefined) return;
    const { pending, owner } = numbered;
    const reason = noThread(err);
    log.error(reason, pending.call.logName);
    // NULL of open, -1 of all others.
    const ret = pending.call.op === op.RT_OP_OPEN ? 0 : -1;
    const none = { minimum: 0, preferred: 0, maximum: 0 };
    pending.settle({ ret, reason, said: 0, stored: err, errnoAfter: err, ...none });
    owner.returned();
    this.#numbers.resumeNext();
  }

  #slotMessage(slot: number): void {
    const base = slot * slotWords + outWords;
    const thread = this.#threadOf(slot);
    if (readKind(this.#slots, base) === op.RT_RESULT) {
      thread.done(base);
    } else {
      const upcall = readUpcall(this.#slots, base);
      const { queuedCall } = upcall;
      const queued = queuedCall === 0 ? undefined : this.#numbers.pendingCall(queuedCall - 1);
      thread.park(upcall, base, queued);
      if (thread.overflow !== undefined) {
        for (const pending of thread.takeWaiting()) thread.overflow.add(pending);
      }
    }
  }

  /** Whether recent polls have paid. If not, poll now and then to find out whether that has changed. */
  #pollPays(): boolean {
    return this.#patience > 0 || ++this.#skippedPolls % pollRetry === 0;
  }

  /** Few calls are outstanding, so C replies sooner than a sleep and a wake-up take: poll briefly for its messages. */
  #poll(): void {
    for (let turn = 0; turn < pollsInRow; turn++) {
      const n = this.native.rt_poll(this.#found, this.#found.length, pollMicroseconds);
      this.#patience = n > 0 ? pollPatience : Math.max(0, this.#patience - 1);
      if (n === 0) break;
      this.#receive(n);
      if (this.#kicked === 0) break;
      const kicked = this.#kicked;
      this.#kicked = 0;
      this.native.rt_kick(this.#kicks, kicked);
    }
    this.drain();
  }

  readResult(base: number, pending: PendingCall): Result {
    return this.#result(this.#slots, base, pending);
  }

  #result(from: Memory, base: number, { failureBelow }: PendingCall): Result {
    const result = readResult(from, base);
    if (result.said === 0)
      return failureBelow === undefined ? result : { ...result, reason: failureBelow };
    const said = result.said as Pointer;
    const reason = textAt(said);
    this.native.rt_said_free(said);
    return { ...result, reason };
  }

  dispatch(parked: Parked, upcall: Upcall, base: number, args: Arguments | undefined): Answered {
    const handler = this.#handlers.get(upcall.target);
    if (handler === undefined) {
      throw new NbdError(
        "EINVAL",
        "a C filter called the next layer of a connection that is closed",
      );
    }
    return handler(new Message(upcall, this.#slots, base, parked, args), parked);
  }

  /** Log a failure, since C passes on only a number, and return its errno. */
  report(error: unknown, logName: string | undefined): number {
    if (error instanceof NbdError) {
      logFailure(error, logName);
      return error.number;
    }
    log.error(stackOf(error), logName);
    return errnos.EIO;
  }

  // ---- addresses that C keeps

  /** A new nxdata. `handler` answers the calls of the layer below through it. */
  newUpcallHandler(
    handler: UpcallHandler,
    module = NO_MODULE,
  ): { readonly nxdata: number; free(): void } {
    const id = this.#nextHandler++;
    const nxdata = this.native.rt_nxdata_new(id, module);
    if (nxdata === null) throw new NbdError("ENOMEM", "no memory for a connection");
    this.#handlers.set(id, handler);
    return {
      nxdata: Number(nxdata),
      free: () => {
        if (this.#handlers.delete(id)) this.native.rt_nxdata_free(nxdata);
      },
    };
  }

  /** Drop the remembered answers and the shortcuts of `nxdata`: C calls JavaScript again. */
  forget(nxdata: number): void {
    this.native.rt_next_forget(nxdata as Pointer);
  }

  /** Set the result of nbdkit_context_get_backend for a context. */
  setBackend(nxdata: number, backend: number): void {
    this.native.rt_nxdata_set_backend(nxdata as Pointer, backend as Pointer);
  }

  /** The C string at an address, copied; undefined for NULL. */
  textAt(address: number): string | undefined {
    return address === 0 ? undefined : textAt(address as Pointer);
  }

  /** A C string that is valid until `release`. */
  newString(text: string): { readonly pointer: number; release(): void } {
    const pointer = this.native.rt_strdup(cString(text));
    if (pointer === null) throw new NbdError("ENOMEM", "no memory for a string");
    return { pointer: Number(pointer), release: () => this.native.rt_free(pointer) };
  }
}

function noThread(errno: number): string {
  return (
    `no native thread can be started: ${errnoText(errnoName(errno))}: ` +
    "expected room for more under the limits of processes and memory (ulimit -u, -v)"
  );
}

function memoryAt(address: Pointer, bytes: number): Memory {
  return new Memory(toArrayBuffer(address, 0, bytes));
}

function putCall(memory: Memory, base: number, call: Call): void {
  writeDowncall(memory, base, call);
  if (call.args !== undefined) writeArguments(memory, base, call.args);
}
