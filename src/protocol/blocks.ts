/** Reusable memory for the replies and payloads of one connection. */

import { ClearRange } from "../lib/clear-range.ts";
import { keptBlockBytes } from "./limits.ts";

/**
 * A piece of memory with a stable address, so C may write to it while other work goes on. A small typed array with
 * storage of its own could move.
 */
export class Block {
  /** The block holds 2^log2 bytes of data after `dataStart`. */
  readonly log2: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  readonly clear: ClearRange;

  constructor(log2: number, length: number) {
    this.log2 = log2;
    const buffer = new ArrayBuffer(length);
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.clear = new ClearRange(buffer);
  }
}

const smallestLog2 = 12;
/** From this size on, data begins on a page boundary, which adds an eighth at most. */
const pagesLog2 = 15;
const pageBytes = 4096;
const lineBytes = 64;

/**
 * Where data begins in a block of its own; the reply's header is right in front of it. C modules may rely on the
 * alignment of malloc(3). Bun aligns memory to 64 bytes, and to pages from 16 KiB on.
 */
export function dataStart(count: number): number {
  return count >= 2 ** pagesLog2 ? pageBytes : lineBytes;
}

/** The smallest power of two that is at least `length`. */
function ceilLog2(length: number): number {
  return 32 - Math.clz32(Math.max(length - 1, 0));
}

/**
 * Blocks never pass from one connection to another. If a plugin fills less of a read than it should, the client sees
 * only its own data.
 */
export class Blocks {
  readonly #free: Block[][] = [];
  #kept = 0;

  /** Return a block of at least `length` bytes. Its contents are arbitrary. */
  take(length: number): Block {
    const block = this.takeForRead(length);
    block.clear.forget();
    return block;
  }

  /** The same for a block that layers read into. It may still be clear. */
  takeForRead(length: number): Block {
    let log2 = Math.max(smallestLog2, ceilLog2(length - lineBytes));
    if (log2 >= pagesLog2) log2 = Math.max(pagesLog2, ceilLog2(length - pageBytes));
    const bytes = 2 ** log2 + (log2 >= pagesLog2 ? pageBytes : lineBytes);
    const free = this.#free[log2] ?? [];
    for (let block = free.pop(); block !== undefined; block = free.pop()) {
      this.#kept -= bytes;
      // A layer may have detached the block's memory, even while the block was free.
      if (block.bytes.length > 0) return block;
    }
    return new Block(log2, bytes);
  }

  /** Give back a block that is no longer read or written. Returns whether the block is kept for reuse. */
  give(block: Block): boolean {
    const { length } = block.bytes;
    block.clear.forget();
    // A layer has detached its memory.
    if (length === 0) return true;
    if (this.#kept + length > keptBlockBytes) return false;
    this.#kept += length;
    (this.#free[block.log2] ??= []).push(block);
    return true;
  }
}
