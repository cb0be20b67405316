/**
 * The writable copy of one export, which all its clients share: the place of each block, and how to read and change it.
 */
import {
  after,
  type Awaitable,
  debug,
  EXTENT_HOLE,
  EXTENT_ZERO,
  Extents,
  FLAG_REQ_ONE,
  fullExtents,
  isPromise,
  NbdError,
  type NextOps,
} from "#api";

import { ALLOCATED, Blocks, HOLE, TRIMMED } from "./blocks.ts";
import { copiedBytes, mostPageBlocks, pageBytes } from "./limits.ts";
import type { Overlay } from "./overlay.ts";

/** The largest range of one request. */
const largestCount = 0xffffffffn;

/** The layer below as one connection sees it. */
export interface Below {
  readonly next: NextOps;
  readonly size: bigint;
  /** The layer supports cache requests. */
  readonly caches: boolean;
}

export interface CopyOptions {
  /** A power of two. */
  readonly blockSize: number;
  /** Whether to keep blocks that are read; called for every read that reaches the layer below. */
  readonly savesReads: () => boolean;
}

/**
 * No locks are needed, even if the layer below answers later. Writes to the overlay are
 * synchronous, and a block keeps its place there, so a read of the overlay may take any time.
 * Otherwise only reads from below can be interrupted by other requests. The data below never
 * changes, and a block that has left HOLE never returns to it. So a request that has waited for
 * data from below checks the state again: if it is still HOLE, no request has changed the block
 * meanwhile; otherwise the data from below is obsolete, and the request continues with the block's
 * new state.
 */
export class Copy {
  private readonly overlay: Overlay;
  private readonly blocks: Blocks;
  private readonly blockSize: number;
  private readonly shift: bigint;
  private readonly mask: bigint;
  private readonly savesReads: () => boolean;

  constructor(overlay: Overlay, { blockSize, savesReads }: CopyOptions) {
    this.overlay = overlay;
    this.blockSize = blockSize;
    this.shift = BigInt(Math.log2(blockSize));
    this.mask = BigInt(blockSize) - 1n;
    this.blocks = new Blocks(
      Math.min(mostPageBlocks, Math.max(1, pageBytes / blockSize)),
      (blocks) => overlay.claim(blocks * blockSize) / blockSize,
    );
    this.savesReads = savesReads;
  }

  /** No block was written, zeroed, trimmed or kept. */
  get untouched(): boolean {
    return this.blocks.untouched;
  }

  read(below: Below, buf: Uint8Array, offset: bigint): Awaitable<void> {
    return inSteps(buf.length, offset, 0, (done, at) => {
      const block = this.blockAt(at);
      const count = this.run(block, this.insideAt(at), buf.length - done);
      const part = partOf(buf, done, count);
      const state = this.blocks.get(block);
      switch (state) {
        case ALLOCATED:
          return after(this.overlay.read(part, this.position(at)), () => count);
        case TRIMMED:
          part.fill(0);
          return count;
        case HOLE:
          if (this.savesReads()) return this.readAndSave(below, part, at);
          return after(below.next.pread(part, at, 0), () => count);
        default:
          return state satisfies never;
      }
    });
  }

  write(below: Below, buf: Uint8Array, offset: bigint): Awaitable<void> {
    return inSteps(buf.length, offset, 0, (done, at) => {
      const count = this.wholeOrPart(below, at, buf.length - done, true);
      const part = partOf(buf, done, count);
      if (!this.isWhole(below, at, count)) {
        return after(this.writePart(below, part, at), () => count);
      }
      this.put(part, at);
      return count;
    });
  }

  /** Make the range read as zeroes, for trim and zero. Whole blocks cost nothing. */
  discard(below: Below, count: number, offset: bigint): Awaitable<void> {
    return inSteps(count, offset, 0, (done, at) => {
      const some = this.wholeOrPart(below, at, count - done, false);
      if (this.isWhole(below, at, some)) {
        this.blocks.set(this.blockAt(at), Math.ceil(some / this.blockSize), TRIMMED);
        return some;
      }
      if (this.blocks.get(this.blockAt(at)) === TRIMMED) return some;
      return after(this.writePart(below, new Uint8Array(some), at), () => some);
    });
  }

  /** Report extents: blocks in the overlay are data, trimmed blocks are holes, others are as in the layer below. */
  extents(
    { next, size }: Below,
    count: number,
    offset: bigint,
    flags: number,
    extents: Extents,
  ): Awaitable<void> {
    const one = (flags & FLAG_REQ_ONE) !== 0;
    return inSteps(count, offset, 0, (done, at) => {
      if (one && done > 0) return count - done;
      const block = this.blockAt(at);
      const some = this.run(block, this.insideAt(at), count - done);
      // Up to the end of a block, even if the request ends before it.
      const end = (at + BigInt(some) + this.mask) & ~this.mask;
      const length = (end < size ? end : size) - at;
      const state = this.blocks.get(block);
      switch (state) {
        case ALLOCATED:
          extents.add(at, length, 0);
          return some;
        case TRIMMED:
          extents.add(at, length, EXTENT_HOLE | EXTENT_ZERO);
          return some;
        case HOLE: {
          const asked = length <= largestCount ? Number(length) : some;
          const told = one ? firstExtents(next, asked, at) : fullExtents(next, asked, at, 0);
          return after(told, ({ entries }) => {
            for (const it of entries) extents.add(it.offset, it.length, it.type);
            return some;
          });
        }
        default:
          return state satisfies never;
      }
    });
  }

  /** Prefetch blocks that only the layer below has: into the overlay if `saves`, else in the layer below itself. */
  cache(below: Below, count: number, offset: bigint, saves: boolean): Awaitable<void> {
    return inSteps(count, offset, 0, (done, at) => {
      const block = this.blockAt(at);
      const some = this.run(block, this.insideAt(at), count - done);
      if (this.blocks.get(block) !== HOLE) return some;
      if (!saves) return below.caches ? after(below.next.cache(some, at, 0), () => some) : some;
      const buf = new Uint8Array(this.fewer(at, some));
      return this.readAndSave(below, buf, at);
    });
  }

  // ---- blocks

  private blockAt(at: bigint): number {
    return Number(at >> this.shift);
  }

  private insideAt(at: bigint): number {
    return Number(at & this.mask);
  }

  /** The position of `at` in the overlay. */
  private position(at: bigint): number {
    return this.blocks.place(this.blockAt(at)) * this.blockSize + this.insideAt(at);
  }

  /** The bytes from `inside` of `block` on, at most `left`, that are in the same state. */
  private run(block: number, inside: number, left: number): number {
    if (inside + left <= this.blockSize) return left;
    const limit = Math.ceil((inside + left) / this.blockSize);
    return Math.min(left, this.blocks.run(block, limit) * this.blockSize - inside);
  }

  /**
   * The bytes of a change that one step can do: part of one block, or as many whole blocks as
   * there are, which for the overlay must be `sideBySide`.
   */
  private wholeOrPart(below: Below, at: bigint, left: number, sideBySide: boolean): number {
    const { blockSize } = this;
    const inside = this.insideAt(at);
    if (inside > 0) return Math.min(left, blockSize - inside);
    const reach = sideBySide ? this.blocks.reach(this.blockAt(at)) * blockSize : left;
    const most = Math.min(left, reach);
    if (most % blockSize === 0 || at + BigInt(most) === below.size) return most;
    return most < blockSize ? most : most - (most % blockSize);
  }

  /** Whether a range from `wholeOrPart` covers whole blocks. The last block of a disk may be short. */
  private isWhole(below: Below, at: bigint, count: number): boolean {
    return (
      this.insideAt(at) === 0 && (count % this.blockSize === 0 || at + BigInt(count) === below.size)
    );
  }

  /** The range of the disk that the blocks of a range cover. */
  private around(below: Below, at: bigint, count: number): { start: bigint; bytes: number } {
    const start = at & ~this.mask;
    const end = (at + BigInt(count) + this.mask) & ~this.mask;
    return { start, bytes: Number((end < below.size ? end : below.size) - start) };
  }

  /** Write whole blocks that are adjacent in the overlay. */
  private put(bytes: Uint8Array, at: bigint): void {
    this.overlay.write(bytes, this.position(at));
    this.blocks.set(this.blockAt(at), Math.ceil(bytes.length / this.blockSize), ALLOCATED);
  }

  /** Change part of one block. The rest comes from the block's current place. */
  private writePart(below: Below, data: Uint8Array, at: bigint): Awaitable<void> {
    const block = this.blockAt(at);
    if (this.blocks.get(block) === ALLOCATED) {
      this.overlay.write(data, this.position(at));
      return undefined;
    }
    const { start, bytes } = this.around(below, at, data.length);
    const whole = new Uint8Array(bytes);
    const merge = () => {
      whole.set(data, this.insideAt(at));
      this.put(whole, start);
    };
    if (this.blocks.get(block) === TRIMMED) return merge();
    return after(below.next.pread(whole, start, 0), () =>
      this.blocks.get(block) === HOLE ? merge() : this.writePart(below, data, at),
    );
  }

  // ---- copying from below

  /** At most the size of one step, but up to the end of a block. */
  private fewer(at: bigint, count: number): number {
    const most = Math.max(1, copiedBytes / this.blockSize) * this.blockSize;
    return Math.min(count, most - this.insideAt(at));
  }

  /** Fill the first bytes of `part`, from blocks in state HOLE, and keep these blocks. Returns the number of bytes. */
  private readAndSave(below: Below, part: Uint8Array, at: bigint): Awaitable<number> {
    const count = this.fewer(at, part.length);
    const { start, bytes } = this.around(below, at, count);
    const isExact = start === at && bytes === count;
    const whole = isExact ? partOf(part, 0, count) : new Uint8Array(bytes);
    return after(below.next.pread(whole, start, 0), () => {
      const skip = this.insideAt(at);
      if (!isExact) part.set(whole.subarray(skip, skip + count));
      this.save(whole, start);
      return count;
    });
  }

  /** Keep blocks that were read from below, except those that changed meanwhile. */
  private save(bytes: Uint8Array, start: bigint): void {
    const { blockSize, blocks } = this;
    const first = this.blockAt(start);
    const count = Math.ceil(bytes.length / blockSize);
    try {
      for (let index = 0; index < count;) {
        const block = first + index;
        const run = Math.min(blocks.run(block, count - index), blocks.reach(block));
        if (blocks.get(block) === HOLE) {
          const part = bytes.subarray(index * blockSize, (index + run) * blockSize);
          this.put(part, BigInt(block) << this.shift);
        }
        index += run;
      }
    } catch (error) {
      // The client has its data, so the request succeeds although the block could not be kept.
      if (!(error instanceof NbdError)) throw error;
      debug(`cow: cannot keep the blocks that were read: ${error.message}`);
    }
  }
}

function firstExtents(next: NextOps, count: number, offset: bigint): Awaitable<Extents> {
  const first = new Extents(offset, offset + BigInt(count));
  return after(next.extents(count, offset, FLAG_REQ_ONE, first), () => first);
}

function partOf(buf: Uint8Array, at: number, count: number): Uint8Array {
  return count === buf.length ? buf : buf.subarray(at, at + count);
}

/** Call `step` for the rest of a range until all of it is done. `step` returns the number of bytes done. */
function inSteps(
  count: number,
  offset: bigint,
  from: number,
  step: (done: number, at: bigint) => Awaitable<number>,
): Awaitable<void> {
  for (let done = from; done < count;) {
    const did = step(done, done === 0 ? offset : offset + BigInt(done));
    if (isPromise(did)) {
      const before = done;
      return did.then((some) => inSteps(count, offset, before + some, step));
    }
    done += did;
  }
}
