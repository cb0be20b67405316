/** Memory for replies and payloads of one connection, used again and again. */

/**
 * A piece of memory with a stable address: C may write into it while other work goes on, which the
 * storage of a small typed array of its own does not allow.
 */
export class Block {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;

  constructor(length: number) {
    const buffer = new ArrayBuffer(length);
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }
}

/** Room for a reply's header beside a power of two of data. */
const extraBytes = 64;
const smallestLog2 = 12;
/** What is kept for later; more is left to the garbage collector. */
const keptBytes = 4 << 20;

/**
 * Blocks are never handed from one connection to another, so that a plugin which fills less than it
 * was asked for shows a client nothing but that client's own data.
 */
export class Blocks {
  readonly #free: Block[][] = [];
  #kept = 0;

  /** A block of at least `length` bytes. Its contents are arbitrary. */
  take(length: number): Block {
    const log2 = Math.max(smallestLog2, 32 - Math.clz32(Math.max(length - extraBytes - 1, 0)));
    const bytes = 2 ** log2 + extraBytes;
    const free = this.#free[log2] ?? [];
    for (let block = free.pop(); block !== undefined; block = free.pop()) {
      this.#kept -= bytes;
      // A layer may have taken its memory away, even when it was free.
      if (block.bytes.length > 0) return block;
    }
    return new Block(bytes);
  }

  /** Give back what `take` returned, once it is not read or written any more. Returns whether it is kept for later. */
  give(block: Block): boolean {
    const { length } = block.bytes;
    // A layer took its memory away.
    if (length === 0) return true;
    if (this.#kept + length > keptBytes) return false;
    this.#kept += length;
    (this.#free[31 - Math.clz32(length - extraBytes)] ??= []).push(block);
    return true;
  }
}
