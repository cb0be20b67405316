/** Decides whether a call that may wait for a disk is made at once or on another thread. */

/**
 * Where files are: in memory, where nothing waits; on a disk of this machine behind the page cache, where writes rarely
 * wait; or where another program or machine answers, as with FUSE and NFS, and any call may wait for ever.
 */
export type Storage = "disk" | "memory" | "remote";

/** A call that took longer was not answered from memory. */
const slowMs = 50;
/** So long after it, calls for the same disk are made on other threads. */
const cautiousMs = 5000;

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

/** What a file system is whose statfs(2) says `type`. An unknown one may be anything. */
export function storageOf(type: number): Storage {
  return storages.get(type >>> 0) ?? "remote";
}

/** One for each disk or file system, shared by all clients. */
export class Pace {
  readonly storage: Storage;
  readonly now: () => number;
  #cautiousUntil = 0;
  /** Reads on Bun's threads, and when the first began or the last one ended. */
  #pooled = 0;
  #movedAt = 0;
  /** When the last call of this turn returned; 0 where no write was made in it. */
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

  /** Whether a read may take one of Bun's threads: not while others may hang there. */
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
   * When a write that is made at once begins. Reading the clock is a part of what a small write
   * costs, so a write begins when the one before it in the same turn has returned.
   */
  begin(): number {
    if (this.#returnedAt === 0) {
      this.#returnedAt = this.now();
      queueMicrotask(this.#turnEnds);
    }
    return this.#returnedAt;
  }

  /** Made once, since it is queued in each turn. */
  readonly #turnEnds = (): void => {
    this.#returnedAt = 0;
  };

  /** A call that began at `start` has returned, on whichever thread. */
  took(start: number): void {
    const end = this.now();
    if (this.#returnedAt !== 0) this.#returnedAt = end;
    if (end - start > slowMs && this.storage === "disk") this.#cautiousUntil = end + cautiousMs;
  }
}
