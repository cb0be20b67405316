/**
 * A pipe through which the kernel hands a part of a file to a socket: pages of the page cache, without a copy. What
 * the client gets is what they hold when it takes them.
 */
import { FFIType, read } from "bun:ffi";
import { closeSync } from "node:fs";

import { openLibc, preadNow } from "./libc.ts";

/** Of Linux, the same on x86-64 and aarch64. */
const F_GETFL = 3;
const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const SPLICE_F_MOVE = 1;
const SPLICE_F_NONBLOCK = 2;
const SYS_CACHESTAT = 451;
const EAGAIN = 11;
const EINTR = 4;

/** The most that everybody may ask for. */
const pipeBytes = 1 << 20;
/** A pipe with less is of no use. */
const leastPipeBytes = 256 << 10;
/** Of struct cachestat_range { off, len }, and behind it struct cachestat { nr_cache, … }, all of 8 bytes. */
const rangeWords = 2;
const statWords = 5;

const symbols = {
  pipe2: { args: ["buffer", "i32"], returns: "i32" },
  // Variadic in C, as syscall is: with integers and pointers both ABIs of Linux pass them like fixed ones.
  fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
  syscall: { args: ["i64", "u64", "ptr", "ptr", "u64"], returns: FFIType.i64_fast },
  splice: { args: ["i32", "ptr", "i32", "ptr", "u64", "u32"], returns: FFIType.i64_fast },
  read: { args: ["i32", "buffer", "u64"], returns: FFIType.i64_fast },
  write: { args: ["i32", "buffer", "u64"], returns: FFIType.i64_fast },
  getpagesize: { args: [], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

function load() {
  const c = openLibc(symbols);
  const errno = c["__errno_location"]();
  if (errno === null) throw new Error("libc has no __errno_location");
  // Over ArrayBuffers of their own, whose memory does not move.
  const words = new BigUint64Array(new ArrayBuffer(8 * (rangeWords + statWords)));
  return {
    c,
    errno,
    pageBytes: c.getpagesize(),
    range: words.subarray(0, rangeWords),
    stat: words.subarray(rangeWords),
    position: new BigInt64Array(new ArrayBuffer(8)),
    last: new Uint8Array(new ArrayBuffer(1)),
  };
}

let loaded: ReturnType<typeof load> | undefined;

function libc(): ReturnType<typeof load> {
  return (loaded ??= load());
}

/** Whether the socket never blocks, which a transfer to it requires. */
export function isNonBlocking(fd: number): boolean {
  try {
    const flags = libc().c.fcntl(fd, F_GETFL, 0);
    return flags !== -1 && (flags & O_NONBLOCK) !== 0;
  } catch {
    // Without libc everything else works.
    return false;
  }
}

export class FilePipe implements Disposable {
  /** Bytes in it. */
  held = 0;
  readonly #out: number;
  readonly #in: number;
  readonly #pages: number;

  /** Undefined where there are too few descriptors, or too little memory for this user's pipes. */
  static open(): FilePipe | undefined {
    const { c, pageBytes } = libc();
    const ends = new Int32Array(2);
    if (c.pipe2(ends, O_CLOEXEC | O_NONBLOCK) === -1) return undefined;
    const [out = -1, into = -1] = ends;
    c.fcntl(into, F_SETPIPE_SZ, pipeBytes);
    const bytes = c.fcntl(into, F_GETPIPE_SZ, 0);
    const pipe = new FilePipe(out, into, Math.floor(bytes / pageBytes));
    if (bytes >= leastPipeBytes) return pipe;
    pipe[Symbol.dispose]();
    return undefined;
  }

  private constructor(out: number, into: number, pages: number) {
    this.#out = out;
    this.#in = into;
    this.#pages = pages;
  }

  /** So much of a file fits in any case, with a header in front of it. */
  get room(): number {
    // The header has a page of its own, and what does not begin with a page has one more.
    return (this.#pages - 2) * libc().pageBytes;
  }

  /**
   * Put `header` and then `count` bytes of the file into the empty pipe, waiting for what is not in memory. False where
   * not all of it fits, or is there.
   */
  fill(header: Uint8Array, file: number, offset: bigint, count: number): boolean {
    const { c, position } = libc();
    this.held = 0;
    if (header.length > 0) {
      this.held = Math.max(Number(c.write(this.#in, header, header.length)), 0);
    }
    position[0] = offset;
    for (let left = count; left > 0;) {
      const moved = retried(() => c.splice(file, position, this.#in, null, left, filling));
      if (moved <= 0) return false;
      this.held += moved;
      left -= moved;
    }
    return this.held === header.length + count;
  }

  /** Let the socket have as much as it takes. Returns how much that was, or -1 where it is gone. */
  give(socket: number): number {
    const { c } = libc();
    const before = this.held;
    while (this.held > 0) {
      const moved = retried(() => c.splice(this.#out, null, socket, null, this.held, giving));
      if (moved === -EAGAIN) break;
      if (moved <= 0) return -1;
      this.held -= moved;
    }
    return before - this.held;
  }

  /** Take the next bytes out. */
  take(into: Uint8Array): number {
    const count = retried(() => libc().c.read(this.#out, into, into.length));
    this.held -= Math.max(count, 0);
    return count;
  }

  [Symbol.dispose](): void {
    closeSync(this.#out);
    closeSync(this.#in);
  }
}

const filling = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
const giving = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

/**
 * Whether the page cache has all of a part of a file, as far as the kernel tells. A page that is still being read
 * counts, and would be waited for. But files are read in order, so the last one is asked whether it can be read now.
 */
export function isInMemory(file: number, offset: bigint, count: number): boolean {
  const { c, last, pageBytes, range, stat } = libc();
  const pages = Math.ceil((Number(offset % BigInt(pageBytes)) + count) / pageBytes);
  range[0] = offset;
  range[1] = BigInt(count);
  if (Number(c.syscall(SYS_CACHESTAT, file, range, stat, 0)) !== 0) return false;
  return stat[0] === BigInt(pages) && preadNow(file, last, offset + BigInt(count - 1)) === 1;
}

/** Returns what `call` does, or the negated errno. */
function retried(call: () => number | bigint): number {
  for (;;) {
    const result = Number(call());
    if (result >= 0) return result;
    const errno = read.i32(libc().errno, 0);
    if (errno !== EINTR) return -errno;
  }
}
