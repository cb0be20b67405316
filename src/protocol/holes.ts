/**
 * Finds out which parts of a read are zeroes without reading them: the layers are asked for extents, where that
 * promises to be worth its cost.
 */
import type { Awaitable, NextOps } from "../api/generated/methods.gen.ts";
import { EXTENT_ZERO, Extents } from "../lib/extents.ts";

/** A piece of a read: bytes that are to be read, or zeroes. */
export interface Part {
  /** From the start of the read. */
  readonly at: number;
  readonly length: number;
  readonly zero: boolean;
}

/** Reads that are shorter cost no more than the question. */
const smallestRead = 64 << 10;
/** Zeroes that are fewer are read: a chunk of their own, and one more read behind them, would cost more. */
const smallestHole = 16 << 10;
/** After so many questions in vain the next ones are put off, for twice as many reads each time. */
const patience = 4;
const longestRest = 64;

export class Holes {
  readonly #top: NextOps;
  readonly #size: bigint;
  readonly #alignment: bigint;
  /** What is known to be data: at worst a hole that was made there since is read. */
  #dataFrom = 0n;
  #dataUntil = 0n;
  #inVain = 0;
  /** Reads that are still to come before the next question. */
  #rest = 0;

  /** Parts begin and end at multiples of `alignment`, but for the ends of the read. */
  constructor(top: NextOps, size: bigint, alignment: bigint) {
    this.#top = top;
    this.#size = size;
    this.#alignment = alignment;
  }

  /** Whether the parts of this read should be asked for. */
  wanted(offset: bigint, count: number): boolean {
    if (count < smallestRead) return false;
    if (offset >= this.#dataFrom && offset + BigInt(count) <= this.#dataUntil) return false;
    if (this.#rest === 0) return true;
    this.#rest--;
    return false;
  }

  /** The parts of a read, in order; undefined where there are no zeroes that are worth it. */
  parts(offset: bigint, count: number): Awaitable<readonly Part[] | undefined> {
    const extents = new Extents(offset, this.#size);
    let told: Awaitable<void>;
    try {
      told = this.#top.extents(count, offset, 0, extents);
    } catch {
      // The client has not asked for extents: what is wrong with them is not its business.
      return this.#vain();
    }
    if (told === undefined) return this.#found(extents, offset, count);
    return told.then(
      () => this.#found(extents, offset, count),
      () => this.#vain(),
    );
  }

  /** The client makes holes. */
  forget(): void {
    this.#dataUntil = 0n;
    this.#rest = 0;
  }

  #found(extents: Extents, offset: bigint, count: number): readonly Part[] | undefined {
    const parts = this.#parts(extents, offset, count);
    if (parts.some(({ zero }) => zero)) {
      this.#inVain = 0;
      return parts;
    }
    const [first] = extents;
    if (first !== undefined && (first.type & EXTENT_ZERO) === 0) {
      this.#dataFrom = first.offset;
      this.#dataUntil = first.offset + first.length;
    }
    return this.#vain();
  }

  #vain(): undefined {
    this.#inVain++;
    const over = this.#inVain - patience;
    this.#rest = over < 0 ? 0 : Math.min(2 ** over, longestRest);
  }

  /** What the extents say of `count` bytes at `offset`; what they do not reach is to be read. */
  #parts(extents: Extents, offset: bigint, count: number): readonly Part[] {
    const parts: Part[] = [];
    const alignment = this.#alignment;
    let at = 0;
    for (const extent of extents) {
      const from = Number(extent.offset - offset);
      if (from >= count) break;
      if ((extent.type & EXTENT_ZERO) === 0) continue;
      const behind = extent.offset + extent.length;
      const until = Number(behind - offset);
      const start =
        from === 0 ? 0 : from + Number((alignment - (extent.offset % alignment)) % alignment);
      const end = until >= count ? count : until - Number(behind % alignment);
      if (end - start < smallestHole) continue;
      if (start > at) parts.push({ at, length: start - at, zero: false });
      parts.push({ at: start, length: end - start, zero: true });
      at = end;
    }
    if (at < count) parts.push({ at, length: count - at, zero: false });
    return parts;
  }
}
