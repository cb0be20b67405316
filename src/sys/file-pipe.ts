/**
 * A pipe through which the kernel hands a part of a file to a socket: pages of the page cache, without a copy. What
 * the client gets is what they hold when it takes them.
 */
import { closeSync } from "node:fs";

import { errnos } from "../lib/errno.ts";
import { callsOf, fixed, interrupted, orErrno } from "./call.ts";
import {
  F_GETFL,
  F_GETPIPE_SZ,
  F_SETPIPE_SZ,
  O_CLOEXEC,
  O_NONBLOCK,
  offsetOf,
  sizeOf,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
  SYS_cachestat,
} from "./generated/libc.gen.ts";
import { preadNow } from "./libc.ts";

/** The most that everybody may ask for. */
const pipeBytes = 1 << 20;
/** A pipe with less is of no use. */
const leastPipeBytes = 256 << 10;
const calls = callsOf("fcntl", "getpagesize", "pipe2", "read", "splice", "syscall", "write");

/** Words of 8 bytes. */
const word = (bytes: number) => bytes / BigUint64Array.BYTES_PER_ELEMENT;

function load() {
  const c = calls();
  return {
    c,
    pageBytes: c.getpagesize(),
    range: fixed(BigUint64Array, word(sizeOf.cachestat_range)),
    stat: fixed(BigUint64Array, word(sizeOf.cachestat)),
    position: fixed(BigInt64Array, 1),
    last: fixed(Uint8Array, 1),
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
      const moved = orErrno(c.splice(file, position, this.#in, null, left, splicing));
      if (moved === interrupted) continue;
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
      const moved = orErrno(c.splice(this.#out, null, socket, null, this.held, splicing));
      if (moved === interrupted) continue;
      if (moved === -errnos.EAGAIN) break;
      if (moved <= 0) return -1;
      this.held -= moved;
    }
    return before - this.held;
  }

  /** Take the next bytes out. */
  take(into: Uint8Array): number {
    const { c } = libc();
    let count: number;
    do count = orErrno(c.read(this.#out, into, into.length));
    while (count === interrupted);
    this.held -= Math.max(count, 0);
    return count;
  }

  [Symbol.dispose](): void {
    closeSync(this.#out);
    closeSync(this.#in);
  }
}

const splicing = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

/**
 * Whether the page cache has all of a part of a file, as far as the kernel tells. A page that is still being read
 * counts, and would be waited for. But files are read in order, so the last one is asked whether it can be read now.
 */
export function isInMemory(file: number, offset: bigint, count: number): boolean {
  const { c, last, pageBytes, range, stat } = libc();
  const pages = Math.ceil((Number(offset % BigInt(pageBytes)) + count) / pageBytes);
  range[word(offsetOf.cachestat_range.off)] = offset;
  range[word(offsetOf.cachestat_range.len)] = BigInt(count);
  if (Number(c.syscall(SYS_cachestat, file, range, stat, 0)) !== 0) return false;
  return (
    stat[word(offsetOf.cachestat.nr_cache)] === BigInt(pages) &&
    preadNow(file, last, offset + BigInt(count - 1)) === 1
  );
}
