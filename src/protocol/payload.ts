/** Collects the data of one WRITE that does not lie in one piece of input. */
import type { Block, Blocks } from "./blocks.ts";

/** A client that announces much and sends nothing gets no more memory than this. */
const firstBytes = 1 << 20;

export class Payload {
  readonly count: number;
  #block: Block;
  #filled = 0;
  readonly #blocks: Blocks;

  constructor(count: number, blocks: Blocks) {
    this.count = count;
    this.#blocks = blocks;
    this.#block = blocks.take(Math.min(count, firstBytes));
  }

  get missing(): number {
    return this.count - this.#filled;
  }

  /** What was collected; complete when nothing is missing. */
  get bytes(): Uint8Array {
    return this.#block.bytes.subarray(0, this.#filled);
  }

  /** Memory held for it. */
  get capacity(): number {
    return this.#block.bytes.length;
  }

  add(part: Uint8Array): void {
    const filled = this.#filled + part.length;
    if (filled > this.#block.bytes.length) {
      const larger = this.#blocks.take(Math.min(this.count, 2 * filled));
      larger.bytes.set(this.bytes);
      this.release();
      this.#block = larger;
    }
    this.#block.bytes.set(part, this.#filled);
    this.#filled = filled;
  }

  /** Nobody reads it any more. */
  release(): void {
    this.#blocks.give(this.#block);
  }
}
