/** The system calls that the plugin makes, as one object, so that tests can watch them and make them fail. */
import { fstatSync, read } from "node:fs";

import { storage } from "#api";

type Storage = typeof storage;

/** Calls without `Now` or `Sync` in their names run on another thread. */
export type Calls = Storage["onThread"] &
  Pick<Storage, "preadNow" | "preadSync" | "pwriteSync"> & {
    readonly adviseNow: Storage["advise"];
    readonly seekNow: Storage["seek"];
    readonly sizeNow: (fd: number) => bigint;
    /** On one of Bun's threads for node:fs: twice as fast, but two hanging calls stop them all. */
    readonly preadPooled: Storage["onThread"]["pread"];
  };

/** node:fs takes positions as numbers; beyond this one it would silently use the current position. */
const farthest = BigInt(Number.MAX_SAFE_INTEGER);

function preadPooled(fd: number, buf: Uint8Array, offset: bigint): Promise<number> {
  if (offset > farthest) return storage.onThread.pread(fd, buf, offset);
  return new Promise((resolve, reject) => {
    const start = (): void =>
      read(fd, buf, 0, buf.length, Number(offset), (error, count) => {
        if (error === null || error === undefined) resolve(count);
        else if (error.code === "EINTR") start();
        else reject(error);
      });
    start();
  });
}

/** The real calls. */
export const calls: Calls = {
  ...storage.onThread,
  preadNow: storage.preadNow,
  preadSync: storage.preadSync,
  pwriteSync: storage.pwriteSync,
  adviseNow: storage.advise,
  seekNow: storage.seek,
  preadPooled,
  sizeNow: (fd) => fstatSync(fd, { bigint: true }).size,
};
