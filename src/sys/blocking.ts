/**
 * Makes blocking system calls on threads of their own, so that JavaScript's thread serves other clients meanwhile. Bun
 * has threads for node:fs, but only as many as the machine has processors: two hanging calls could stop them all.
 */
import { ptr } from "bun:ffi";

import { log } from "../lib/log.ts";
import { type BlockingCall, type BlockingCalls, type Order, perform } from "./blocking-calls.ts";
import { idleThreadMs, mostBlockingThreads, mostCallsOfFile } from "./limits.ts";

interface Job {
  readonly order: Order;
  readonly fd: number;
  /** Keeps the memory that the call uses. */
  readonly memory: ArrayBufferLike | undefined;
  readonly done: (result: number | bigint) => void;
}

class Thread {
  readonly #worker: Worker;
  #job: Job | undefined;

  constructor() {
    this.#worker = new Worker(new URL("blocking-thread.ts", import.meta.url), { smol: true });
    this.#worker.addEventListener("message", ({ data }: MessageEvent<number | bigint>) => {
      const job = this.#job;
      this.#job = undefined;
      this.#worker.unref();
      if (job !== undefined) finished(this, job, data);
    });
    // The thread did not start, for example because the new user cannot read this program: make the call here instead.
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      log.debug(`no thread for a blocking call, so all clients wait for it: ${event.message}`);
      const job = this.#job;
      this.#job = undefined;
      threads--;
      if (job !== undefined) finished(undefined, job, perform(job.order));
    });
  }

  run(job: Job): void {
    this.#job = job;
    this.#worker.ref();
    this.#worker.postMessage(job.order);
  }

  end(): void {
    this.#worker.postMessage(undefined);
  }
}

let threads = 0;
/** Threads without a job. The most recently used one is used first. */
const idle: Thread[] = [];
/** The number of threads that have been idle since the last tick of the timer. */
let unused = 0;
let timer: Timer | undefined;
/** The number of outstanding calls of each descriptor. */
const running = new Map<number, number>();
/** Calls that wait for a thread, by descriptor. Descriptors take turns. */
const waiting = new Map<number, Job[]>();

function submit(job: Job): void {
  if (mayRun(job.fd) && (idle.length > 0 || threads < mostBlockingThreads)) return run(job);
  const queue = waiting.get(job.fd);
  if (queue === undefined) waiting.set(job.fd, [job]);
  else queue.push(job);
}

function mayRun(fd: number): boolean {
  return (running.get(fd) ?? 0) < mostCallsOfFile;
}

function run(job: Job): void {
  let thread = idle.pop();
  unused = Math.min(unused, idle.length);
  if (thread === undefined) {
    thread = new Thread();
    threads++;
  }
  running.set(job.fd, (running.get(job.fd) ?? 0) + 1);
  thread.run(job);
}

function finished(thread: Thread | undefined, job: Job, result: number | bigint): void {
  const others = (running.get(job.fd) ?? 1) - 1;
  if (others > 0) running.set(job.fd, others);
  else running.delete(job.fd);
  if (thread !== undefined) idle.push(thread);
  const next = nextJob();
  if (next !== undefined) run(next);
  else timer ??= setInterval(endUnused, idleThreadMs).unref();
  job.done(result);
}

function nextJob(): Job | undefined {
  for (const [fd, queue] of waiting) {
    if (!mayRun(fd)) continue;
    const job = queue.shift();
    waiting.delete(fd);
    if (queue.length > 0) waiting.set(fd, queue);
    return job;
  }
  return undefined;
}

function endUnused(): void {
  const ending = idle.splice(0, unused);
  threads -= ending.length;
  for (const thread of ending) thread.end();
  unused = idle.length;
  if (threads > 0) return;
  clearInterval(timer);
  timer = undefined;
}

/** Make a call on another thread. Returns its result, or the negated errno. */
export function onThread<C extends Exclude<BlockingCall, "pread" | "pwrite">>(
  call: C,
  fd: number,
  ...args: BlockingCalls[C] extends (fd: number, ...rest: infer Rest) => unknown ? Rest : never
): Promise<ReturnType<BlockingCalls[C]>> {
  return new Promise((resolve) => {
    // The cast is correct: the thread answers with the result of this call.
    const done = (result: number | bigint) => resolve(result as ReturnType<BlockingCalls[C]>);
    submit({ order: [call, fd, ...args], fd, memory: undefined, done });
  });
}

/**
 * Fill or write `buf` on another thread. Returns the number of bytes, or the negated errno. Until then the caller must
 * neither free the memory nor use it for anything else.
 */
export function transferOnThread(
  call: "pread" | "pwrite",
  fd: number,
  buf: Uint8Array,
  offset: bigint,
): Promise<number> {
  // Reading `buffer` fixes the address of a small array.
  const { buffer: memory, byteLength: count } = buf;
  if (count === 0) return Promise.resolve(0);
  const address = ptr(buf);
  return new Promise((resolve) => {
    const done = (result: number | bigint) => resolve(Number(result));
    submit({ order: [call, fd, address, count, offset], fd, memory, done });
  });
}
