/** Decides whether a call that may wait for a disk is made at once or on another thread. */

import { cautiousMs, slowMs } from "./limits.ts";

/**
 * The place of a file: in memory, where no call waits; on a disk of this machine behind the page
 * cache, where writes rarely wait; or behind another program or machine, as with FUSE and NFS,
 * where any call may wait forever.
 */
export type Storage = "disk" | "memory" | "remote";

/** `f_type` of statfs(2). */
const storages = new Map<number, Storage>([
  [0x01021994, "memory"], // tmpfs
  [0x858458f6, "memory"], // ramfs
  [0x958458f6, "memory"], // hugetlbfs
  [0xef53, "disk"], // ext2, ext3, ext4
  [0x58465342, "disk"], // XFS
  [0x9123683e, "disk"], // btrfs
  [0xf2f52010, "disk"], // F2FS
  [0xca451a4e, "disk"], // bcachefs
  [0x2fc12fc1, "disk"], // ZFS
  [0x794c7630, "disk"], // overlayfs
  [0x73717368, "disk"], // SquashFS
  [0xe0f5e1e2, "disk"], // EROFS
  [0x9660, "disk"], // ISO 9660
  [0x4d44, "disk"], // FAT
  [0x2011bab0, "disk"], // exFAT
  [0x7366746e, "disk"], // NTFS
]);

/** The place for `type` of statfs(2). An unknown file system may be anything. */
export function storageOf(type: number): Storage {
  return storages.get(type >>> 0) ?? "remote";
}

/** One for each disk or file system, shared by all clients. */
export class Pace {
  readonly storage: Storage;
  readonly now: () => number;
  #cautiousUntil = 0;
  /** The number of reads on Bun's threads, and the time when the first began or the last one ended. */
  #pooled = 0;
  #movedAt = 0;
  /** The time when the last call of this turn returned; 0 if the turn had no write. */
  #returnedAt = 0;

  constructor(storage: Storage, now: () => number = () => performance.now()) {
    this.storage = storage;
    this.now = now;
  }

  /** Whether calls are made on JavaScript's thread. */
  get atOnce(): boolean {
    if (this.storage === "remote") return false;
    return this.#cautiousUntil === 0 || this.now() >= this.#cautiousUntil;
  }

  /** Whether a read may use one of Bun's threads: not while other reads may hang there. */
  get mayPool(): boolean {
    if (this.storage !== "disk" || !this.atOnce) return false;
    return this.#pooled === 0 || this.now() - this.#movedAt <= slowMs;
  }

  /** A read on Bun's threads begins (1) or ends (-1). */
  pooled(by: 1 | -1): void {
    if (this.#pooled === 0 || by < 0) this.#movedAt = this.now();
    this.#pooled += by;
  }

  /**
   * The start time of a synchronous write. Reading the clock is a noticeable part of the cost of a
   * small write, so a write starts at the time when the one before it in the same turn returned.
   */
  begin(): number {
    if (this.#returnedAt === 0) {
      this.#returnedAt = this.now();
      queueMicrotask(this.#turnEnds);
    }
    return this.#returnedAt;
  }

  /** Created once, since each turn queues it. */
  readonly #turnEnds = (): void => {
    this.#returnedAt = 0;
  };

  /** A call that began at `start` has returned, on any thread. */
  took(start: number): void {
    const end = this.now();
    if (this.#returnedAt !== 0) this.#returnedAt = end;
    if (end - start > slowMs && this.storage === "disk") this.#cautiousUntil = end + cautiousMs;
  }
}
