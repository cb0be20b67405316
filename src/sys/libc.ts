/** The calls of libc that node:fs lacks. The first one loads libc. */
import { ptr } from "bun:ffi";

import { callsOf, fixed, interrupted, lastErrno, orErrno, uninterrupted } from "./call.ts";
import {
  BLKDISCARD,
  BLKGETSIZE64,
  BLKIOMIN,
  BLKIOOPT,
  BLKROTATIONAL,
  BLKSSZGET,
  BLKZEROOUT,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  offsetOf,
  POSIX_FADV_DONTNEED,
  POSIX_FADV_NORMAL,
  POSIX_FADV_RANDOM,
  POSIX_FADV_SEQUENTIAL,
  POSIX_FADV_WILLNEED,
  RWF_NOWAIT,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  sizeOf,
} from "./generated/libc.gen.ts";

/** The `whence` of lseek(2). */
const whences = { end: SEEK_END, data: SEEK_DATA, hole: SEEK_HOLE } as const;
/** Requests of ioctl(2) that return one number. */
const deviceNumbers = {
  sectorSize: BLKSSZGET,
  minimumIo: BLKIOMIN,
  optimalIo: BLKIOOPT,
  rotational: BLKROTATIONAL,
} as const;

/** JavaScriptCore keeps arrays up to about this length in the collector's heap, where they may move at any time. */
const movable = 1024;

/** Advice of posix_fadvise(2). */
const advices = {
  normal: POSIX_FADV_NORMAL,
  random: POSIX_FADV_RANDOM,
  sequential: POSIX_FADV_SEQUENTIAL,
  willneed: POSIX_FADV_WILLNEED,
  dontneed: POSIX_FADV_DONTNEED,
} as const;

export type Advice = keyof typeof advices;

/** Modes of fallocate(2): allocate, make a hole, or zero and keep the space. */
const modes = {
  allocate: 0,
  punchHole: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
  zeroRange: FALLOC_FL_ZERO_RANGE,
} as const;

export type FallocateKind = keyof typeof modes;

const calls = callsOf(
  "close",
  "fallocate",
  "fdatasync",
  "ioctl",
  "lseek",
  "posix_fadvise",
  "pread",
  "preadv2",
  "pwrite",
);

function load() {
  const c = calls();
  const iovec = fixed(Uint32Array, sizeOf.iovec / Uint32Array.BYTES_PER_ELEMENT);
  const small = fixed(Uint8Array, movable);
  return {
    c,
    /** One iovec for all calls, as 32-bit halves of its words. */
    iovec,
    iovecAt: ptr(iovec),
    small,
    smallAt: ptr(small),
    /** The in and out parameters of ioctl. */
    words: fixed(BigUint64Array, 2),
  };
}

let loaded: ReturnType<typeof load> | undefined;

function libc(): ReturnType<typeof load> {
  loaded ??= load();
  return loaded;
}

/** Whether libc is loaded. */
export function isLoaded(): boolean {
  return loaded !== undefined;
}

/**
 * preadv2(2) with RWF_NOWAIT: read data that is in memory. Returns the number of bytes, which may be smaller than the
 * buffer, or the negated errno: -EAGAIN if the data must come from the device.
 */
export function preadNow(fd: number, buf: Uint8Array, offset: bigint): number {
  const it = loaded ?? libc();
  if (buf.length > movable) return readNow(it, fd, ptr(buf), buf.length, offset);
  const count = readNow(it, fd, it.smallAt, buf.length, offset);
  if (count > 0) buf.set(count === movable ? it.small : it.small.subarray(0, count));
  return count;
}

const baseWord = offsetOf.iovec.iov_base / Uint32Array.BYTES_PER_ELEMENT;
const lengthWord = offsetOf.iovec.iov_len / Uint32Array.BYTES_PER_ELEMENT;

function readNow(
  it: ReturnType<typeof load>,
  fd: number,
  address: number,
  length: number,
  offset: bigint,
): number {
  const { iovec, iovecAt } = it;
  iovec[baseWord] = address >>> 0;
  iovec[baseWord + 1] = address * 2 ** -32;
  iovec[lengthWord] = length;
  let count: number;
  do count = orErrno(it.c.preadv2(fd, iovecAt, 1, offset, RWF_NOWAIT));
  while (count === interrupted);
  return count;
}

/** pread(2), at any offset. Returns the number of bytes (0 at the end of the file), or the negated errno. */
export function pread(fd: number, buf: Uint8Array, offset: bigint): number {
  const it = libc();
  return uninterrupted(() => it.c.pread(fd, buf, buf.length, offset));
}

/**
 * pwrite(2), at any offset. Returns the number of bytes, or the negated errno. Bun's fs.writeSync cannot replace it,
 * since it ignores a position that is a bigint.
 */
export function pwrite(fd: number, buf: Uint8Array, offset: bigint): number {
  const it = loaded ?? libc();
  let count: number;
  do count = orErrno(it.c.pwrite(fd, buf, buf.length, offset));
  while (count === interrupted);
  return count;
}

/** fallocate(2). Returns 0 or the negated errno. */
export function fallocate(fd: number, kind: FallocateKind, offset: bigint, length: bigint): number {
  const it = libc();
  return uninterrupted(() => it.c.fallocate(fd, modes[kind], offset, length));
}

/**
 * lseek(2) to the next data or hole at or after `offset`, or to `offset` bytes after the end. Returns the position, or
 * the negated errno: -ENXIO after the last data or hole.
 */
export function seek(fd: number, to: keyof typeof whences, offset: bigint): bigint {
  const it = libc();
  const found = it.c.lseek(fd, offset, whences[to]);
  return BigInt(found >= 0 ? found : -lastErrno());
}

/** fdatasync(2). Returns 0 or the negated errno. */
export function fdatasync(fd: number): number {
  const it = libc();
  return uninterrupted(() => it.c.fdatasync(fd));
}

/** close(2). Returns 0 or the negated errno. The descriptor is closed in any case, even after EINTR. */
export function close(fd: number): number {
  return orErrno(libc().c.close(fd));
}

/** posix_fadvise(2); length 0 means to the end of the file. Returns 0 or the negated errno. */
export function fadvise(fd: number, offset: bigint, length: bigint, advice: Advice): number {
  // Unlike the other functions, posix_fadvise returns the error number and does not set errno.
  return -libc().c.posix_fadvise(fd, offset, length, advices[advice]);
}

/** The size in bytes of a block device (BLKGETSIZE64), or the negated errno. */
export function deviceSize(fd: number): bigint {
  const it = libc();
  const result = uninterrupted(() => it.c.ioctl(fd, BLKGETSIZE64, it.words));
  return result < 0 ? BigInt(result) : (it.words[0] ?? 0n);
}

/** A number that a block device reports (BLKSSZGET, BLKIOMIN, BLKIOOPT, BLKROTATIONAL), or the negated errno. */
export function deviceNumber(fd: number, what: keyof typeof deviceNumbers): number {
  const it = libc();
  // BLKROTATIONAL stores 16 bits, the others 32.
  it.words.fill(0n);
  const result = uninterrupted(() => it.c.ioctl(fd, deviceNumbers[what], it.words));
  return result < 0 ? result : Number((it.words[0] ?? 0n) & 0xffff_ffffn);
}

/** BLKDISCARD or BLKZEROOUT for a range of a block device. Returns 0 or the negated errno. */
export function deviceRange(
  fd: number,
  what: "discard" | "zeroOut",
  offset: bigint,
  length: bigint,
): number {
  const it = libc();
  it.words[0] = offset;
  it.words[1] = length;
  const request = what === "discard" ? BLKDISCARD : BLKZEROOUT;
  return uninterrupted(() => it.c.ioctl(fd, request, it.words));
}
