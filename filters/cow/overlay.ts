/**
 * The temporary file with the written blocks of all exports of a layer. It has no name, so it
 * vanishes with the process at the latest.
 */
import { randomUUID } from "node:crypto";
import { closeSync, constants, openSync, readSync, unlinkSync, writeSync } from "node:fs";

import {
  type Awaitable,
  ConfigError,
  environmentVariable,
  filePath,
  NbdError,
  storage,
} from "#api";

/** Above this limit node:fs ignores the position, and writes at the end of the last write. */
const largestPosition = Number.MAX_SAFE_INTEGER;

export class Overlay implements Disposable {
  private readonly fd: number;
  /** Whether the file system can tell which data is in memory. */
  private canReadNow = true;
  private claimed = 0;

  /** `fd` is a file open for reading and writing; it is closed by `Symbol.dispose`. */
  constructor(fd: number) {
    this.fd = fd;
  }

  /** Make one in $TMPDIR, or /var/tmp: nbdkit-cow-filter(1), "ENVIRONMENT VARIABLES". */
  static create(folder = environmentVariable("TMPDIR") || "/var/tmp"): Overlay {
    const name = `${folder}/nbdkit-cow-${randomUUID()}`;
    const path = filePath(name);
    try {
      const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
      unlinkSync(path);
      return new Overlay(fd);
    } catch (error) {
      const { message } = NbdError.from(error, `cow: cannot create the temporary file ${name}`);
      throw new ConfigError(message, { cause: error });
    }
  }

  /** Reserve `bytes` of the file for the caller, and return their start. They take no space until they are written. */
  claim(bytes: number): number {
    const start = this.claimed;
    this.claimed += bytes;
    return start;
  }

  /** At once if the data is in the page cache, else on another thread. */
  read(buf: Uint8Array, position: number): Awaitable<void> {
    try {
      const count = this.readNow(buf, position);
      if (count === buf.length) return undefined;
      return this.readLater(buf, position, Math.max(count, 0));
    } catch (error) {
      throw NbdError.from(error, reading(buf, position));
    }
  }

  /** Returns the number of bytes, or -1. */
  private readNow(buf: Uint8Array, position: number): number {
    if (this.canReadNow) {
      try {
        return storage.preadNow(this.fd, buf, BigInt(position));
      } catch (error) {
        if (!(error instanceof NbdError) || error.errno !== "EOPNOTSUPP") throw error;
        // This happens on tmpfs, for example.
        this.canReadNow = false;
      }
    }
    return readSync(this.fd, buf, 0, buf.length, position);
  }

  private async readLater(buf: Uint8Array, position: number, had: number): Promise<void> {
    try {
      for (let done = had; done < buf.length;) {
        const at = BigInt(position + done);
        const got = await storage.onThread.pread(this.fd, buf.subarray(done), at);
        // The range beyond the end of the file is still unwritten.
        if (got === 0) {
          buf.fill(0, done);
          return;
        }
        done += got;
      }
    } catch (error) {
      throw NbdError.from(error, reading(buf, position));
    }
  }

  write(buf: Uint8Array, position: number): void {
    try {
      if (position + buf.length > largestPosition)
        throw new NbdError("EFBIG", `${writing(buf, position)}: too far`);
      for (let done = 0; done < buf.length;) {
        const put = writeSync(this.fd, buf, done, buf.length - done, position + done);
        if (put === 0) throw new NbdError("ENOSPC", `${writing(buf, position)}: no progress`);
        done += put;
      }
    } catch (error) {
      throw NbdError.from(error, writing(buf, position));
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

function reading(buf: Uint8Array, position: number): string {
  return `reading ${buf.length} bytes of the overlay at ${position}`;
}

function writing(buf: Uint8Array, position: number): string {
  return `writing ${buf.length} bytes of the overlay at ${position}`;
}
