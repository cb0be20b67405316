/** The system calls that the plugin makes, as one object, so that tests can watch them and let them fail. */
import { fstatSync } from "node:fs";

import { storage } from "#api";

type Storage = typeof storage;

/** Those whose names do not say otherwise run on another thread. */
export type Calls = Storage["onThread"] &
  Pick<Storage, "preadNow" | "preadSync" | "pwriteSync"> & {
    readonly adviseNow: Storage["advise"];
    readonly seekNow: Storage["seek"];
    readonly sizeNow: (fd: number) => bigint;
  };

/** The real ones. */
export const calls: Calls = {
  ...storage.onThread,
  preadNow: storage.preadNow,
  preadSync: storage.preadSync,
  pwriteSync: storage.pwriteSync,
  adviseNow: storage.advise,
  seekNow: storage.seek,
  sizeNow: (fd) => fstatSync(fd, { bigint: true }).size,
};
