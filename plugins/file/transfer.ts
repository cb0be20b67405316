/** Reads and writes whole ranges: at once if the page cache accepts or has the data, else on another thread. */
import { after, type Awaitable, NbdError } from "#api";

import { mostAtOnceBytes } from "./limits.ts";
import { type OpenFile, sizeOf } from "./open-file.ts";

/** A write to part of a block reads the rest from the disk. */
const blockBytes = 4096;

/** Fill `buf`. Answers at once if the data is in memory. */
export function readFully(file: OpenFile, buf: Uint8Array, offset: bigint): Awaitable<void> {
  if (buf.length > mostAtOnceBytes) return readLater(file, buf, offset, 0);
  const count = readNow(file, buf, offset);
  if (count === buf.length) return undefined;
  if (count === undefined && file.pace.storage === "memory") return readWaiting(file, buf, offset);
  // Linux 5.9 and 5.10 also answer 0 for data that is not in memory, so 0 is not yet the end.
  return readLater(file, buf, offset, Math.max(count ?? 0, 0));
}

/** Write all of `buf`: into the page cache at once, or on another thread if that may wait. */
export function writeFully(file: OpenFile, buf: Uint8Array, offset: bigint): Awaitable<void> {
  if (!isWrittenAtOnce(file, buf, offset)) {
    return file.changes.run(offset, buf.length, () => writeLater(file, buf, offset));
  }
  const { fd, calls, pace } = file;
  try {
    const start = pace.begin();
    let done = calls.pwriteSync(fd, buf, offset);
    while (done < buf.length) {
      done += some(file, calls.pwriteSync(fd, buf.subarray(done), offset + BigInt(done)));
    }
    pace.took(start);
  } catch (error) {
    throw blame(file, error);
  }
  return undefined;
}

function isWrittenAtOnce(file: OpenFile, buf: Uint8Array, offset: bigint): boolean {
  const { changes, pace } = file;
  if (buf.length > mostAtOnceBytes || !pace.atOnce || changes.overlap(offset, buf.length))
    return false;
  if (pace.storage === "memory") return true;
  // Above 2^53 some are taken for aligned, and written at once.
  const start = Number(offset) % blockBytes;
  const end = (start + buf.length) % blockBytes;
  if (start !== 0 && !isInMemory(file, offset)) return false;
  return end === 0 || isInMemory(file, offset + BigInt(buf.length - 1));
}

const byte = new Uint8Array(new ArrayBuffer(1));

/** Whether the byte's block is in the page cache, or may be because the kernel cannot tell. */
function isInMemory(file: OpenFile, offset: bigint): boolean {
  const count = readNow(file, byte, offset);
  return count === undefined || count === 1;
}

/** See `preadNow`. Undefined if the file does not support it. */
function readNow(file: OpenFile, buf: Uint8Array, offset: bigint): number | undefined {
  const { fd, calls, lacks } = file;
  if (lacks.has("preadNow")) return undefined;
  try {
    return calls.preadNow(fd, buf, offset);
  } catch (error) {
    if (!(error instanceof NbdError) || error.errno !== "EOPNOTSUPP") throw blame(file, error);
    lacks.add("preadNow");
    return undefined;
  }
}

function readWaiting(file: OpenFile, buf: Uint8Array, offset: bigint): Awaitable<void> {
  const { fd, calls } = file;
  try {
    let done = 0;
    while (done < buf.length) {
      const rest = done === 0 ? buf : buf.subarray(done);
      const count = calls.preadSync(fd, rest, offset + BigInt(done));
      if (count === 0) return beyondEnd(file, buf, offset);
      done += count;
    }
  } catch (error) {
    throw blame(file, error);
  }
  return undefined;
}

async function readLater(
  file: OpenFile,
  buf: Uint8Array,
  offset: bigint,
  had: number,
): Promise<void> {
  try {
    let done = had;
    while (done < buf.length) {
      const count = await readSome(file, buf.subarray(done), offset + BigInt(done));
      if (count === 0) await beyondEnd(file, buf, offset);
      done += count;
    }
  } catch (error) {
    throw blame(file, error);
  }
}

/** Reads of a quick disk run on Bun's threads, until one hangs there or was slow. */
async function readSome(
  { calls, fd, pace }: OpenFile,
  buf: Uint8Array,
  offset: bigint,
): Promise<number> {
  if (buf.length > mostAtOnceBytes) return calls.pread(fd, buf, offset);
  const start = pace.now();
  try {
    if (!pace.mayPool) return await calls.pread(fd, buf, offset);
    pace.pooled(1);
    try {
      return await calls.preadPooled(fd, buf, offset);
    } finally {
      pace.pooled(-1);
    }
  } finally {
    pace.took(start);
  }
}

async function writeLater(file: OpenFile, buf: Uint8Array, offset: bigint): Promise<void> {
  const { fd, calls, pace } = file;
  try {
    const start = pace.now();
    let done = 0;
    while (done < buf.length) {
      done += some(file, await calls.pwrite(fd, buf.subarray(done), offset + BigInt(done)));
    }
    if (buf.length <= mostAtOnceBytes) pace.took(start);
  } catch (error) {
    throw blame(file, error);
  }
}

/** A write that returns 0 without an error would be retried forever. */
function some(file: OpenFile, count: number): number {
  if (count > 0) return count;
  throw new NbdError("EIO", `write to ${file.path} returned 0 bytes`);
}

/** Throws. The message has the current size of a file; the size of a block device does not change. */
function beyondEnd(file: OpenFile, buf: Uint8Array, offset: bigint): Awaitable<never> {
  return after(file.sector === undefined ? sizeOf(file) : undefined, (size) => {
    const now = size === undefined ? "" : ` (it has ${size} bytes now)`;
    throw new NbdError(
      "EIO",
      `read of ${buf.length} bytes at ${offset} goes beyond the end of the file, which became shorter${now}`,
    );
  });
}

/**
 * The error with the file's name. EAGAIN, for example from a busy file system in user space, would
 * reach clients as EINVAL, which means an invalid request, and endless retries could block the
 * request forever. So EAGAIN becomes EIO.
 */
export function blame(file: OpenFile, error: unknown): NbdError {
  const failure =
    error instanceof NbdError
      ? new NbdError(error.errno, `${file.path}: ${error.message}`, { cause: error })
      : NbdError.from(error, file.path);
  if (failure.errno !== "EAGAIN" && failure.errno !== "EWOULDBLOCK") return failure;
  return new NbdError("EIO", failure.message, { cause: error });
}
