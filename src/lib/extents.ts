/**
 * Which parts of a disk are holes or zeroes: the list that an `extents` method fills.
 * nbdkit-plugin(3), "Extents list".
 */
import { errnoError } from "./errno.ts";
import { firstExtents } from "./limits.ts";

/** The range takes no space on the disk. */
export const EXTENT_HOLE = 1;
/** The range reads as zeroes. */
export const EXTENT_ZERO = 2;

/** A range whose bytes are all of one type: EXTENT_HOLE, EXTENT_ZERO, both or (0) neither. */
export interface Extent {
  readonly offset: bigint;
  readonly length: bigint;
  readonly type: number;
}

/** nbdkit's limit for one list. Further extents are dropped, and callers treat their range as "not known yet". */
const mostEntries = 1_048_576;
const largest = (1n << 63n) - 1n;

/**
 * Extents of the bytes from `start` up to `end`, in order and without gaps. A method need not describe all of
 * them, but must describe at least the first.
 *
 * @example
 * extents(_handle, count, offset, _flags, extents) {
 *   extents.add(offset, BigInt(count), EXTENT_HOLE | EXTENT_ZERO);
 * }
 */
export class Extents {
  readonly start: bigint;
  readonly end: bigint;
  /** The end and the type of each extent. A list may have a million: objects would take ten times the memory. */
  #ends = new BigUint64Array(firstExtents);
  #types = new Uint32Array(firstExtents);
  #count = 0;
  /** The required start of the next extent; undefined before the first. */
  #next: bigint | undefined;

  constructor(start: bigint, end: bigint) {
    if (start < 0n || start > end || end > largest) {
      throw errnoError("ERANGE", `extents from ${start} to ${end}: expected 0 to 2^63-1, in order`);
    }
    this.start = start;
    this.end = end;
  }

  /** The number of extents. */
  get count(): number {
    return this.#count;
  }

  /** A new array of all extents. Iteration takes less memory: `for (const extent of extents)`. */
  get entries(): readonly Extent[] {
    return [...this];
  }

  *[Symbol.iterator](): Generator<Extent, void, undefined> {
    let offset = this.start;
    for (let i = 0; i < this.#count; i++) {
      const end = this.#ends[i] ?? offset;
      yield { offset, length: end - offset, type: this.#types[i] ?? 0 };
      offset = end;
    }
  }

  /** How far the entries reach: `start` while there are none. */
  get covered(): bigint {
    return this.#ends[this.#count - 1] ?? this.start;
  }

  /**
   * Add the range that follows those added so far. The part outside `start` to `end` is dropped,
   * and adjacent extents of one type are merged.
   */
  add(offset: bigint, length: bigint, type: number): void {
    if (offset < 0n || length < 0n) {
      throw errnoError(
        "ERANGE",
        `extent of ${length} bytes at ${offset}: expected numbers from 0 on`,
      );
    }
    if (length === 0n || offset >= this.end || this.#count === mostEntries) return;
    const end = offset + length < this.end ? offset + length : this.end;
    if (this.#next !== undefined && offset !== this.#next) {
      throw errnoError(
        "ERANGE",
        `extent at ${offset}: expected ${this.#next}, where the one before it ends`,
      );
    }
    const first = this.#count === 0;
    if (first && offset > this.start) {
      throw errnoError("ERANGE", `the first extent starts at ${offset}, after ${this.start}`);
    }
    this.#next = end;
    if (first && end <= this.start) return;
    // C has 32 bits for the type.
    const bits = type >>> 0;
    if (first || this.#types[this.#count - 1] !== bits) this.#append(bits);
    this.#ends[this.#count - 1] = end;
  }

  #append(type: number): void {
    const room = this.#types.length;
    if (this.#count === room) {
      const ends = new BigUint64Array(2 * room);
      ends.set(this.#ends);
      this.#ends = ends;
      const types = new Uint32Array(2 * room);
      types.set(this.#types);
      this.#types = types;
    }
    this.#types[this.#count++] = type;
  }
}
