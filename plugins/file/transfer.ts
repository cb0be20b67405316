/** Reads and writes whole ranges: at once where the page cache has them, else on another thread. */
import { fstatSync } from "node:fs";

import { type Awaitable, NbdError } from "#api";

import { type OpenFile } from "./open-file.ts";

/** Copying more than this takes long enough that other clients should be served meanwhile. */
const longest = 1 << 20;

/** Fill `buf`. Answers at once where no device has to be asked. */
export function readFully(file: OpenFile, buf: Uint8Array, offset: bigint): Awaitable<void> {
  const { fd, calls, lacks } = file;
  if (buf.length > longest) return readLater(file, buf, offset, 0);
  if (lacks.has("preadNow")) return readWaiting(file, buf, offset);
  let count: number;
  try {
    count = calls.preadNow(fd, buf, offset);
  } catch (error) {
    if (!(error instanceof NbdError) || error.errno !== "EOPNOTSUPP") throw blame(file, error);
    lacks.add("preadNow");
    return readWaiting(file, buf, offset);
  }
  if (count === buf.length) return undefined;
  // Linux 5.9 and 5.10 also answer 0 for data that is not in memory, so 0 is not yet the end.
  return readLater(file, buf, offset, Math.max(count, 0));
}

/** Write all of `buf`: into the page cache at once, or on another thread where there is much of it. */
export function writeFully(file: OpenFile, buf: Uint8Array, offset: bigint): Awaitable<void> {
  if (buf.length > longest) return writeLater(file, buf, offset);
  const { fd, calls } = file;
  try {
    let done = calls.pwriteSync(fd, buf, offset);
    while (done < buf.length) {
      done += some(file, calls.pwriteSync(fd, buf.subarray(done), offset + BigInt(done)));
    }
  } catch (error) {
    throw blame(file, error);
  }
  return undefined;
}

function readWaiting(file: OpenFile, buf: Uint8Array, offset: bigint): void {
  const { fd, calls } = file;
  try {
    let done = 0;
    while (done < buf.length) {
      const rest = done === 0 ? buf : buf.subarray(done);
      const count = calls.preadSync(fd, rest, offset + BigInt(done));
      if (count === 0) throw beyondEnd(file, buf, offset);
      done += count;
    }
  } catch (error) {
    throw blame(file, error);
  }
}

async function readLater(
  file: OpenFile,
  buf: Uint8Array,
  offset: bigint,
  had: number,
): Promise<void> {
  const { fd, calls } = file;
  try {
    let done = had;
    while (done < buf.length) {
      const count = await calls.pread(fd, buf.subarray(done), offset + BigInt(done));
      if (count === 0) throw beyondEnd(file, buf, offset);
      done += count;
    }
  } catch (error) {
    throw blame(file, error);
  }
}

async function writeLater(file: OpenFile, buf: Uint8Array, offset: bigint): Promise<void> {
  const { fd, calls } = file;
  try {
    let done = 0;
    while (done < buf.length) {
      done += some(file, await calls.pwrite(fd, buf.subarray(done), offset + BigInt(done)));
    }
  } catch (error) {
    throw blame(file, error);
  }
}

/** A write that takes nothing and reports nothing would be tried for ever. */
function some(file: OpenFile, count: number): number {
  if (count > 0) return count;
  throw new NbdError("EIO", `${file.path} took 0 bytes of a write`);
}

function beyondEnd(file: OpenFile, buf: Uint8Array, offset: bigint): NbdError {
  const size = file.sector === undefined ? ` (it has ${fstatSync(file.fd).size} bytes now)` : "";
  return new NbdError(
    "EIO",
    `read of ${buf.length} bytes at ${offset} goes beyond the end of the file, which became shorter${size}`,
  );
}

/** The error with the file's name. */
export function blame(file: OpenFile, error: unknown): unknown {
  if (error instanceof NbdError) {
    return new NbdError(error.errno, `${file.path}: ${error.message}`, { cause: error });
  }
  return NbdError.from(error, file.path);
}
