/** File and block device operations beyond node:fs. The first call loads libc. */
import { errnoName, errnos, errnoText } from "../lib/errno.ts";
import { NbdError } from "../lib/errors.ts";
import * as blocking from "../sys/blocking.ts";
import { type Advice } from "../sys/libc.ts";
import * as libc from "../sys/libc.ts";

export type { Advice };

function fail(errno: number, what: string): never {
  const name = errnoName(errno);
  throw new NbdError(name, `${what}: ${errnoText(name)}`);
}

function at(count: number, offset: bigint): string {
  return `${count} bytes at ${offset}`;
}

/**
 * Read data that is in memory, without waiting for a device. Returns the number of bytes, which
 * may be smaller than the buffer and is 0 at the end of the file, or -1 if the data must come from
 * a device. Throws EOPNOTSUPP if the file system or kernel cannot tell; that will not change for
 * this file.
 */
export function preadNow(fd: number, buf: Uint8Array, offset: bigint): number {
  const count = libc.preadNow(fd, buf, offset);
  if (count >= 0) return count;
  if (count === -errnos.EAGAIN) return -1;
  return fail(count === -errnos.ENOSYS ? errnos.EOPNOTSUPP : -count, "reading without waiting");
}

/** Read at any offset, waiting for it. Returns the number of bytes, 0 at the end of the file. */
export function preadSync(fd: number, buf: Uint8Array, offset: bigint): number {
  const count = libc.pread(fd, buf, offset);
  return count >= 0 ? count : fail(-count, `reading ${at(buf.length, offset)}`);
}

/**
 * Write at any offset. Returns the number of bytes, which may be smaller than the buffer.
 * Use it instead of fs.writeSync, which ignores a position that is a bigint or above 2^53-1.
 */
export function pwriteSync(fd: number, buf: Uint8Array, offset: bigint): number {
  const count = libc.pwrite(fd, buf, offset);
  return count >= 0 ? count : fail(-count, `writing ${at(buf.length, offset)}`);
}

/**
 * Make a hole: the range reads as zeroes and takes no space. The file keeps its size.
 * Throws EOPNOTSUPP if the file system has no holes.
 *
 * @example
 * trim(handle, count, offset) {
 *   storage.punchHole(handle.fd, offset, count);
 * }
 */
export function punchHole(fd: number, offset: bigint, count: number): void {
  const result = libc.fallocate(fd, "punchHole", offset, BigInt(count));
  if (result < 0) fail(-result, `punching a hole of ${at(count, offset)}`);
}

/** Make the range read as zeroes, and keep its space reserved. */
export function zeroRange(fd: number, offset: bigint, count: number): void {
  const result = libc.fallocate(fd, "zeroRange", offset, BigInt(count));
  if (result < 0) fail(-result, `zeroing ${at(count, offset)}`);
}

/** Reserve space for the range without changing its data. */
export function allocate(fd: number, offset: bigint, count: number): void {
  const result = libc.fallocate(fd, "allocate", offset, BigInt(count));
  if (result < 0) fail(-result, `allocating ${at(count, offset)}`);
}

/** Tell the kernel how a range of the file will be used. A count of 0 means up to its end. */
export function advise(fd: number, offset: bigint, count: number, advice: Advice): void {
  const result = libc.fadvise(fd, offset, BigInt(count), advice);
  if (result < 0) fail(-result, `advising ${advice} for ${at(count, offset)}`);
}

/** The offset of the next data (or hole) at or after `offset`, or undefined if there is none. */
export function seek(fd: number, to: "data" | "hole", offset: bigint): bigint | undefined {
  return found(libc.seek(fd, to, offset), to, offset);
}

function found(it: bigint, to: "data" | "hole", offset: bigint): bigint | undefined {
  if (it >= 0n) return it;
  if (it === BigInt(-errnos.ENXIO)) return undefined;
  return fail(Number(-it), `looking for a ${to} from ${offset}`);
}

/** The size of a block device in bytes. */
export function deviceSize(fd: number): bigint {
  const size = libc.deviceSize(fd);
  return size >= 0n ? size : fail(Number(-size), "asking for the size of a block device");
}

/** The size of a block device's logical sectors in bytes. */
export function sectorSize(fd: number): number {
  const size = libc.deviceNumber(fd, "sectorSize");
  return size > 0 ? size : fail(-size, "asking for the sector size of a block device");
}

/** The preferences of a block device for its requests. Sizes are in bytes. */
export interface DeviceLimits {
  /** Smaller requests cost as much, or more. */
  readonly minimum: number;
  /** The size of the most efficient requests; 0 if the device does not report one. */
  readonly optimal: number;
  /** Sequential requests are cheaper: a spinning disk. */
  readonly rotational: boolean;
}

/** The kernel's facts about a block device: minimum_io_size, optimal_io_size and rotational in /sys/block. */
export function deviceLimits(fd: number): DeviceLimits {
  const ask = (what: "minimumIo" | "optimalIo" | "rotational"): number => {
    const number = libc.deviceNumber(fd, what);
    return number >= 0 ? number : fail(-number, `asking a block device for ${what}`);
  };
  return {
    minimum: ask("minimumIo"),
    optimal: ask("optimalIo"),
    rotational: ask("rotational") !== 0,
  };
}

/** Tell a block device that a range is no longer needed. Its content is undefined afterwards. */
export function discardDevice(fd: number, offset: bigint, count: number): void {
  const result = libc.deviceRange(fd, "discard", offset, BigInt(count));
  if (result < 0) fail(-result, `discarding ${at(count, offset)}`);
}

/** Zero a range of whole sectors of a block device; the kernel writes zeroes if the device has no better way. */
export function zeroDevice(fd: number, offset: bigint, count: number): void {
  const result = libc.deviceRange(fd, "zeroOut", offset, BigInt(count));
  if (result < 0) fail(-result, `zeroing ${at(count, offset)}`);
}

function done(result: number, what: string, count: number, offset: bigint): void {
  if (result < 0) fail(-result, `${what} ${at(count, offset)}`);
}

/**
 * The same calls on other threads, for calls that may wait for a disk or a server: other clients
 * are served meanwhile. Until the promise settles, do not change the buffer or close the
 * descriptor. Each descriptor has at most 8 outstanding calls; further calls wait for these.
 *
 * @example
 * async flush(handle) {
 *   await storage.onThread.fdatasync(handle.fd);
 * }
 */
export const onThread = {
  async pread(fd: number, buf: Uint8Array, offset: bigint): Promise<number> {
    const count = await blocking.transferOnThread("pread", fd, buf, offset);
    return count >= 0 ? count : fail(-count, `reading ${at(buf.length, offset)}`);
  },
  async pwrite(fd: number, buf: Uint8Array, offset: bigint): Promise<number> {
    const count = await blocking.transferOnThread("pwrite", fd, buf, offset);
    return count >= 0 ? count : fail(-count, `writing ${at(buf.length, offset)}`);
  },
  /** Write all cached data to the disk. */
  async fdatasync(fd: number): Promise<void> {
    const result = await blocking.onThread("fdatasync", fd);
    if (result < 0) fail(-result, "fdatasync");
  },
  async punchHole(fd: number, offset: bigint, count: number): Promise<void> {
    const result = await blocking.onThread("fallocate", fd, "punchHole", offset, BigInt(count));
    done(result, "punching a hole of", count, offset);
  },
  async zeroRange(fd: number, offset: bigint, count: number): Promise<void> {
    const result = await blocking.onThread("fallocate", fd, "zeroRange", offset, BigInt(count));
    done(result, "zeroing", count, offset);
  },
  async allocate(fd: number, offset: bigint, count: number): Promise<void> {
    const result = await blocking.onThread("fallocate", fd, "allocate", offset, BigInt(count));
    done(result, "allocating", count, offset);
  },
  async advise(fd: number, offset: bigint, count: number, advice: Advice): Promise<void> {
    const result = await blocking.onThread("fadvise", fd, offset, BigInt(count), advice);
    done(result, `advising ${advice} for`, count, offset);
  },
  async seek(fd: number, to: "data" | "hole", offset: bigint): Promise<bigint | undefined> {
    return found(await blocking.onThread("seek", fd, to, offset), to, offset);
  },
  /** The size of a file or block device in bytes. */
  async size(fd: number): Promise<bigint> {
    const size = await blocking.onThread("seek", fd, "end", 0n);
    return size >= 0n ? size : fail(Number(-size), "asking for the size");
  },
  async discardDevice(fd: number, offset: bigint, count: number): Promise<void> {
    const result = await blocking.onThread("deviceRange", fd, "discard", offset, BigInt(count));
    done(result, "discarding", count, offset);
  },
  async zeroDevice(fd: number, offset: bigint, count: number): Promise<void> {
    const result = await blocking.onThread("deviceRange", fd, "zeroOut", offset, BigInt(count));
    done(result, "zeroing", count, offset);
  },
  /** Network file systems write cached data before they close a file, so closing may block. */
  async close(fd: number): Promise<void> {
    const result = await blocking.onThread("close", fd);
    if (result < 0) fail(-result, "closing");
  },
} as const;
