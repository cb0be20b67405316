/** What parts of a disk are holes or zeroes: the list that an `extents` method fills. nbdkit-plugin(3), "Extents list". */
import { errnoError } from "./errno.ts";

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

/** The most that one list holds; what is added beyond is left out, which callers take for "not known yet". */
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
  readonly #entries: Extent[] = [];
  /** Where the next one must begin; undefined before the first. */
  #next: bigint | undefined;

  constructor(start: bigint, end: bigint) {
    if (start < 0n || start > end || end > largest) {
      throw errnoError("ERANGE", `extents from ${start} to ${end}: expected 0 to 2^63-1, in order`);
    }
    this.start = start;
    this.end = end;
  }

  get entries(): readonly Extent[] {
    return this.#entries;
  }

  /** How far the entries reach: `start` while there are none. */
  get covered(): bigint {
    const last = this.#entries.at(-1);
    return last === undefined ? this.start : last.offset + last.length;
  }

  /**
   * Add the range that follows those added so far. What lies outside `start` to `end` is left out, and
   * neighbours of one type become one.
   */
  add(offset: bigint, length: bigint, type: number): void {
    if (offset < 0n || length < 0n) {
      throw errnoError(
        "ERANGE",
        `extent of ${length} bytes at ${offset}: expected no negative number`,
      );
    }
    if (length === 0n || offset >= this.end || this.#entries.length === mostEntries) return;
    const end = offset + length < this.end ? offset + length : this.end;
    if (this.#next !== undefined && offset !== this.#next) {
      throw errnoError(
        "ERANGE",
        `extent at ${offset}: expected ${this.#next}, where the one before it ends`,
      );
    }
    const last = this.#entries.at(-1);
    if (last === undefined && offset > this.start) {
      throw errnoError("ERANGE", `the first extent begins at ${offset}, after ${this.start}`);
    }
    this.#next = end;
    if (last === undefined && end <= this.start) return;
    if (last !== undefined && last.type === type) {
      this.#entries[this.#entries.length - 1] = { ...last, length: end - last.offset };
      return;
    }
    const from = offset < this.start ? this.start : offset;
    this.#entries.push({ offset: from, length: end - from, type });
  }
}
