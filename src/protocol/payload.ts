/** Collects the data of one WRITE that does not lie in one piece of input. */
import { freeUsedUp } from "../lib/used-up.ts";
import { type Block, type Blocks, dataStart } from "./blocks.ts";
import { firstPayloadBytes } from "./limits.ts";

export class Payload {
  readonly count: number;
  /** Where the data begins in the block. */
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

  /** What was collected; complete when nothing is missing. */
  get bytes(): Uint8Array {
    return this.#block.bytes.subarray(this.#start, this.#start + this.#filled);
  }

  /** Memory held for it. */
  get capacity(): number {
    return this.#block.bytes.length;
  }

  add(part: Uint8Array): void {
    const filled = this.#filled + part.length;
    if (filled > this.#room) this.#grow(2 * filled);
    this.#block.bytes.set(part, this.#start + this.#filled);
    this.#filled = filled;
  }

  /** The place for exactly the next bytes. A caller that fills it reports that with `fill`. */
  get room(): Uint8Array {
    if (this.#filled === this.#room) this.#grow(2 * this.#filled);
    const end = Math.min(this.count, this.#room);
    return this.#block.bytes.subarray(this.#start + this.#filled, this.#start + end);
  }

  fill(count: number): void {
    this.#filled += count;
  }

  /** It is no longer read. */
  release(): void {
    this.#blocks.give(this.#block);
  }

  /** The rest will not come: no layer has seen the memory, so it is freed now rather than by the collector. */
  abandon(): void {
    freeUsedUp(this.#block.bytes);
  }

  /** So much data has room in the block. */
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
