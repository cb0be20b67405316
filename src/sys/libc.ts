/** The calls of libc that node:fs lacks. Nothing is loaded before the first of them. */
import { dlopen, type FFIFunction, FFIType, ptr, read } from "bun:ffi";

/** Mode bits of fallocate(2). */
const keepSize = 1;
const punch = 2;
const zeroing = 16;
/** Whence of lseek(2). */
const whences = { end: 2, data: 3, hole: 4 } as const;
/** Flag of preadv2(2): fail with EAGAIN where the data is not in memory. */
const nowait = 8;
/** Requests of ioctl(2), the same on x86-64 and aarch64. */
const deviceNumbers = {
  sectorSize: 0x1268,
  minimumIo: 0x1278,
  optimalIo: 0x1279,
  rotational: 0x127e,
} as const;
const blkDiscard = 0x1277;
const blkZeroOut = 0x127f;
const blkSize = 0x80081272;

const EINTR = 4;

/** Arrays up to this length may lie in the collector's heap and move, even between two lines. */
const movable = 1024;

/** Advice of posix_fadvise(2). */
const advices = {
  normal: 0,
  random: 1,
  sequential: 2,
  willneed: 3,
  dontneed: 4,
} as const;

export type Advice = keyof typeof advices;

/** Kinds of fallocate(2): allocate, make a hole, or zero while keeping the space. */
const modes = {
  allocate: 0,
  punchHole: punch | keepSize,
  zeroRange: zeroing,
} as const;

export type FallocateKind = keyof typeof modes;

const symbols = {
  pread: { args: ["i32", "buffer", "u64", "i64"], returns: FFIType.i64_fast },
  pwrite: { args: ["i32", "buffer", "u64", "i64"], returns: FFIType.i64_fast },
  preadv2: { args: ["i32", "ptr", "i32", "i64", "i32"], returns: FFIType.i64_fast },
  fallocate: { args: ["i32", "i32", "i64", "i64"], returns: "i32" },
  lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
  fdatasync: { args: ["i32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  posix_fadvise: { args: ["i32", "i64", "i64", "i32"], returns: "i32" },
  // Variadic in C: with a pointer or integer after `request` both ABIs of Linux pass it like a fixed one.
  ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

/**
 * glibc is always loaded under this name, and musl takes the name for its own. Where a library is
 * not there, the dlopen of bun:ffi looks in the current folder, which may be another user's: so no
 * other name is tried.
 */
const libcName = "libc.so.6";

/** Load functions of libc. Throws where it does not have all of them. */
export function openLibc<const S extends Record<string, FFIFunction>>(wanted: S) {
  try {
    return dlopen(libcName, wanted).symbols;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      reason.includes("JIT")
        ? "Bun cannot call libc, as it gets no memory that may be both written and executed: " +
            "expected MemoryDenyWriteExecute=no of systemd, and 4000000 of ulimit -v and -d or more"
        : `cannot load libc (${libcName}): ${reason}`,
      { cause: error },
    );
  }
}

function load() {
  const c = openLibc(symbols);
  // One errno a thread, for its whole life; each Worker loads this module anew.
  const errno = c["__errno_location"]();
  if (errno === null) throw new Error("libc has no __errno_location");
  // Over an ArrayBuffer: such memory never moves, so that its address may be kept.
  const memory = new ArrayBuffer(16);
  const small = new ArrayBuffer(movable);
  return {
    c,
    errno,
    /** The one iovec: struct iovec { void *iov_base; size_t iov_len; }, in 32 bit halves. */
    iovec: new Uint32Array(memory),
    iovecAt: ptr(memory),
    small: new Uint8Array(small),
    smallAt: ptr(small),
    /** In and out parameters of ioctl: its memory is held by `words`. */
    words: new BigUint64Array(new ArrayBuffer(16)),
  };
}

let loaded: ReturnType<typeof load> | undefined;

function libc(): ReturnType<typeof load> {
  loaded ??= load();
  return loaded;
}

/** Run `call` until no signal interrupts it. Returns 0 or more, or the negated errno. */
function retried(it: ReturnType<typeof load>, call: () => number | bigint): number {
  for (;;) {
    const result = Number(call());
    if (result >= 0) return result;
    const errno = read.i32(it.errno, 0);
    if (errno !== EINTR) return -errno;
  }
}

/** Whether libc was loaded. */
export function isLoaded(): boolean {
  return loaded !== undefined;
}

/**
 * preadv2(2) with RWF_NOWAIT: read what is in memory. Returns the number of bytes, which may be
 * smaller than the buffer, or the negated errno: -EAGAIN where the device would have to be asked.
 */
export function preadNow(fd: number, buf: Uint8Array, offset: bigint): number {
  const it = loaded ?? libc();
  if (buf.length > movable) return readNow(it, fd, ptr(buf), buf.length, offset);
  const count = readNow(it, fd, it.smallAt, buf.length, offset);
  if (count > 0) buf.set(count === movable ? it.small : it.small.subarray(0, count));
  return count;
}

function readNow(
  it: ReturnType<typeof load>,
  fd: number,
  address: number,
  length: number,
  offset: bigint,
): number {
  const { iovec, iovecAt } = it;
  iovec[0] = address >>> 0;
  iovec[1] = address * 2 ** -32;
  iovec[2] = length;
  for (;;) {
    const count = Number(it.c.preadv2(fd, iovecAt, 1, offset, nowait));
    if (count >= 0) return count;
    const errno = read.i32(it.errno, 0);
    if (errno !== EINTR) return -errno;
  }
}

/** pread(2), at any offset. Returns the number of bytes (0 at the end of the file), or the negated errno. */
export function pread(fd: number, buf: Uint8Array, offset: bigint): number {
  const it = libc();
  return retried(it, () => it.c.pread(fd, buf, buf.length, offset));
}

/**
 * pwrite(2), at any offset. Returns the number of bytes, or the negated errno.
 * Bun's fs.writeSync is no substitute: it ignores a position that is a bigint.
 */
export function pwrite(fd: number, buf: Uint8Array, offset: bigint): number {
  const it = loaded ?? libc();
  for (;;) {
    const count = Number(it.c.pwrite(fd, buf, buf.length, offset));
    if (count >= 0) return count;
    const errno = read.i32(it.errno, 0);
    if (errno !== EINTR) return -errno;
  }
}

/** fallocate(2). Returns 0 or the negated errno. */
export function fallocate(fd: number, kind: FallocateKind, offset: bigint, length: bigint): number {
  const it = libc();
  return retried(it, () => it.c.fallocate(fd, modes[kind], offset, length));
}

/**
 * lseek(2) to the next data or hole at or after `offset`, or to so many bytes after the end. Returns the position, or
 * the negated errno: -ENXIO after the last data or hole.
 */
export function seek(fd: number, to: keyof typeof whences, offset: bigint): bigint {
  const it = libc();
  const found = it.c.lseek(fd, offset, whences[to]);
  return found >= 0n ? found : BigInt(-read.i32(it.errno, 0));
}

/** fdatasync(2). Returns 0 or the negated errno. */
export function fdatasync(fd: number): number {
  const it = libc();
  return retried(it, () => it.c.fdatasync(fd));
}

/** close(2). Returns 0 or the negated errno; the descriptor is closed in any case, so an interrupted one is, too. */
export function close(fd: number): number {
  const it = libc();
  return it.c.close(fd) === 0 ? 0 : -read.i32(it.errno, 0);
}

/** posix_fadvise(2); length 0 means to the end of the file. Returns 0 or the negated errno. */
export function fadvise(fd: number, offset: bigint, length: bigint, advice: Advice): number {
  // Unlike the others it returns the error number, and leaves errno alone.
  return -libc().c.posix_fadvise(fd, offset, length, advices[advice]);
}

/** The size in bytes of a block device (BLKGETSIZE64), or the negated errno. */
export function deviceSize(fd: number): bigint {
  const it = libc();
  const result = retried(it, () => it.c.ioctl(fd, blkSize, it.words));
  return result < 0 ? BigInt(result) : (it.words[0] ?? 0n);
}

/** A number that a block device tells (BLKSSZGET, BLKIOMIN, BLKIOOPT, BLKROTATIONAL), or the negated errno. */
export function deviceNumber(fd: number, what: keyof typeof deviceNumbers): number {
  const it = libc();
  // The last one has 16 bits, the others 32.
  it.words.fill(0n);
  const result = retried(it, () => it.c.ioctl(fd, deviceNumbers[what], it.words));
  return result < 0 ? result : Number((it.words[0] ?? 0n) & 0xffff_ffffn);
}

/** BLKDISCARD or BLKZEROOUT of a range of a block device. Returns 0 or the negated errno. */
export function deviceRange(
  fd: number,
  what: "discard" | "zeroOut",
  offset: bigint,
  length: bigint,
): number {
  const it = libc();
  it.words[0] = offset;
  it.words[1] = length;
  const request = what === "discard" ? blkDiscard : blkZeroOut;
  return retried(it, () => it.c.ioctl(fd, request, it.words));
}
