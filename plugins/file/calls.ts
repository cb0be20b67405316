/** The system calls that the plugin makes, as one object, so that tests can watch them and let them fail. */
import { fdatasync, read, write } from "node:fs";

import { storage } from "#api";

type Storage = typeof storage;

export interface Calls extends Pick<
  Storage,
  | "advise"
  | "allocate"
  | "discardDevice"
  | "preadNow"
  | "preadSync"
  | "punchHole"
  | "pwriteSync"
  | "seek"
  | "zeroDevice"
  | "zeroRange"
> {
  /** On another thread. Returns the number of bytes, 0 at the end of the file. */
  pread(fd: number, buf: Uint8Array, offset: bigint): Promise<number>;
  /** On another thread. */
  pwrite(fd: number, buf: Uint8Array, offset: bigint): Promise<number>;
  /** On another thread. */
  fdatasync(fd: number): Promise<void>;
}

/** node:fs takes positions as numbers; beyond this one it would silently use the current position. */
const farthest = BigInt(Number.MAX_SAFE_INTEGER);

function interrupted(error: NodeJS.ErrnoException): boolean {
  return error.code === "EINTR";
}

/** Start `go` again as long as signals interrupt it. */
function retried<T>(
  go: (done: (error: NodeJS.ErrnoException | null, value: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const start = (): void =>
      go((error, value) => {
        if (error === null || error === undefined) resolve(value);
        else if (interrupted(error)) start();
        else reject(error);
      });
    start();
  });
}

/** The real ones. */
export const calls: Calls = {
  ...storage,
  pread(fd, buf, offset) {
    if (offset > farthest) return Promise.try(storage.preadSync, fd, buf, offset);
    return retried((done) => read(fd, buf, 0, buf.length, Number(offset), done));
  },
  pwrite(fd, buf, offset) {
    if (offset > farthest) return Promise.try(storage.pwriteSync, fd, buf, offset);
    return retried((done) => write(fd, buf, 0, buf.length, Number(offset), done));
  },
  fdatasync(fd) {
    return retried<void>((done) => fdatasync(fd, (error) => done(error, undefined)));
  },
};
