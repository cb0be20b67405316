/** Collects the data of a WRITE that arrives in several chunks. */
import { freeUsedUp } from "../lib/used-up.ts";
import { type Block, type Blocks, dataStart } from "./blocks.ts";
import { firstPayloadBytes } from "./limits.ts";

export class Payload {
  readonly count: number;
  /** The position of the data in the block. */
  readonly #start: number;
  #block: Block;
  #filled = 0;
  readonly #blocks: Blocks;

  constructor(count: number, blocks: Blocks) {
    this.count = count;
    this.#blocks = blocks;
    this.#start = dataStart(count);
    this.#block = blocks.take(this.#start + Math.min(count, firstPayloadBytes));
  }

  get missing(): number {
    return this.count - this.#filled;
  }

  /** The data that has arrived. */
  get bytes(): Uint8Array {
    return this.#block.bytes.subarray(this.#start, this.#start + this.#filled);
  }

  /** Bytes of memory that the payload holds. */
  get capacity(): number {
    return this.#block.bytes.length;
  }

  add(part: Uint8Array): void {
    const filled = this.#filled + part.length;
    if (filled > this.#room) this.#grow(2 * filled);
    this.#block.bytes.set(part, this.#start + this.#filled);
    this.#filled = filled;
  }

  /** Where the next bytes belong. The caller fills a part of it from the start, and reports that with `fill`. */
  get room(): Uint8Array {
    if (this.#filled === this.#room) this.#grow(2 * this.#filled);
    const end = Math.min(this.count, this.#room);
    return this.#block.bytes.subarray(this.#start + this.#filled, this.#start + end);
  }

  fill(count: number): void {
    this.#filled += count;
  }

  /** The layers no longer use the data. */
  release(): void {
    this.#blocks.give(this.#block);
  }

  /** The rest will not arrive. No layer has seen the memory, so free it now rather than leave it to the collector. */
  abandon(): void {
    freeUsedUp(this.#block.bytes);
  }

  /** The block's capacity for data. */
  get #room(): number {
    return this.#block.bytes.length - this.#start;
  }

  #grow(capacity: number): void {
    const larger = this.#blocks.take(this.#start + Math.min(this.count, capacity));
    larger.bytes.set(this.bytes, this.#start);
    if (!this.#blocks.give(this.#block)) freeUsedUp(this.#block.bytes);
    this.#block = larger;
  }
}
