/** Memory for replies and payloads of one connection, used again and again. */

import { keptBlockBytes } from "./limits.ts";

/**
 * A piece of memory with a stable address: C may write into it while other work goes on, which the
 * storage of a small typed array of its own does not allow.
 */
export class Block {
  /** It has room for so much data behind `dataStart`. */
  readonly log2: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;

  constructor(log2: number, length: number) {
    this.log2 = log2;
    const buffer = new ArrayBuffer(length);
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }
}

const smallestLog2 = 12;
/** From here on, data begins with a page of memory, which adds an eighth at most. */
const pagesLog2 = 15;
const pageBytes = 4096;
const lineBytes = 64;

/**
 * Where data has to begin in a block of its own, with a reply's header right in front of it. Modules in C may count on
 * the alignment of malloc(3). Bun's memory begins at multiples of 64, and from 16 KiB on with a page.
 */
export function dataStart(count: number): number {
  return count >= 2 ** pagesLog2 ? pageBytes : lineBytes;
}

/** The smallest power of two that is not less. */
function ceilLog2(length: number): number {
  return 32 - Math.clz32(Math.max(length - 1, 0));
}

/**
 * Blocks are never handed from one connection to another, so that a plugin which fills less than it
 * was asked for shows a client nothing but that client's own data.
 */
export class Blocks {
  readonly #free: Block[][] = [];
  #kept = 0;

  /** A block of at least `length` bytes. Its contents are arbitrary. */
  take(length: number): Block {
    let log2 = Math.max(smallestLog2, ceilLog2(length - lineBytes));
    if (log2 >= pagesLog2) log2 = Math.max(pagesLog2, ceilLog2(length - pageBytes));
    const bytes = 2 ** log2 + (log2 >= pagesLog2 ? pageBytes : lineBytes);
    const free = this.#free[log2] ?? [];
    for (let block = free.pop(); block !== undefined; block = free.pop()) {
      this.#kept -= bytes;
      // A layer may have taken its memory away, even when it was free.
      if (block.bytes.length > 0) return block;
    }
    return new Block(log2, bytes);
  }

  /** Give back what `take` returned, once it is not read or written any more. Returns whether it is kept for later. */
  give(block: Block): boolean {
    const { length } = block.bytes;
    // A layer took its memory away.
    if (length === 0) return true;
    if (this.#kept + length > keptBlockBytes) return false;
    this.#kept += length;
    (this.#free[block.log2] ??= []).push(block);
    return true;
  }
}
