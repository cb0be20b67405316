/**
 * A pipe through which the kernel moves part of a file to a socket: pages of the page cache, without a copy. The
 * client gets the content that the pages have when it receives them.
 */
import { closeSync } from "node:fs";

import { errnos } from "../lib/errno.ts";
import { callsOf, fixed, interrupted, orErrno } from "./call.ts";
import {
  F_GETFL,
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
import { pipeBytes } from "./limits.ts";

const calls = callsOf("fcntl", "getpagesize", "pipe2", "read", "splice", "syscall", "write");

/** The index of the 8-byte word at an offset. */
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

/** Whether the socket is non-blocking, as `give` requires. */
export function isNonBlocking(fd: number): boolean {
  try {
    const flags = libc().c.fcntl(fd, F_GETFL, 0);
    return flags !== -1 && (flags & O_NONBLOCK) !== 0;
  } catch {
    // Without libc everything else still works.
    return false;
  }
}

export class FilePipe implements Disposable {
  /** The number of bytes in the pipe. */
  held = 0;
  readonly #out: number;
  readonly #in: number;
  readonly #pages: number;

  /** Undefined if too few descriptors are left, or the system gives this user's pipes no more memory. */
  static open(): FilePipe | undefined {
    const { c, pageBytes } = libc();
    const ends = new Int32Array(2);
    if (c.pipe2(ends, O_CLOEXEC | O_NONBLOCK) === -1) return undefined;
    const [out = -1, into = -1] = ends;
    const bytes = c.fcntl(into, F_SETPIPE_SZ, pipeBytes);
    const pipe = new FilePipe(out, into, Math.floor(bytes / pageBytes));
    if (bytes >= pipeBytes) return pipe;
    pipe[Symbol.dispose]();
    return undefined;
  }

  private constructor(out: number, into: number, pages: number) {
    this.#out = out;
    this.#in = into;
    this.#pages = pages;
  }

  /** The length of a part of a file that always fits, with a header in front of it. */
  get room(): number {
    // The header takes a page of its own, and a range that is not aligned to pages spans one more.
    return (this.#pages - 2) * libc().pageBytes;
  }

  /**
   * Put `header` and then `count` bytes of the file into the empty pipe, waiting for data that is not in memory. False
   * if the pipe is too small, or the file too short.
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

  /** Move data to the socket, as much as it takes now. Returns the number of bytes, or -1 if the socket failed. */
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

  /** Read the next bytes from the pipe. */
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
 * Whether the page cache has all of a part of a file. cachestat(2) also counts pages that the kernel is still reading,
 * for which a transfer would wait. The kernel reads files in order, so try to read the last byte without waiting.
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
