/** Finds the holes of a file, as far as its file system reports them. */
import {
  after,
  type Awaitable,
  debug,
  EXTENT_HOLE,
  EXTENT_ZERO,
  type Extents,
  FLAG_REQ_ONE,
  NbdError,
} from "#api";

import { mostExtents } from "./limits.ts";
import { type OpenFile, sizeOf } from "./open-file.ts";
import { blame } from "./transfer.ts";

const hole = EXTENT_HOLE | EXTENT_ZERO;

/** Whether the file system can find holes. */
export function tellsHoles(file: OpenFile): Awaitable<boolean> {
  const cannot = (error: unknown): false => {
    if (!(error instanceof NbdError)) throw error;
    debug(`extents disabled: ${file.path}: ${error.message}`);
    return false;
  };
  const { calls, fd, pace } = file;
  if (!pace.atOnce) return calls.seek(fd, "hole", 0n).then(() => true, cannot);
  try {
    calls.seekNow(fd, "hole", 0n);
    return true;
  } catch (error) {
    return cannot(error);
  }
}

/** Add the extents from `offset` on: all of the range, or enough to make progress. */
export function addHoles(
  file: OpenFile,
  count: number,
  offset: bigint,
  flags: number,
  extents: Extents,
): Awaitable<void> {
  const search = new Search(offset, offset + BigInt(count), flags & FLAG_REQ_ONE ? 1 : mostExtents);
  if (!file.pace.atOnce) return searchLater(file, search, extents);
  const { calls, fd, pace } = file;
  const start = pace.now();
  try {
    while (!search.over) {
      const next = calls.seekNow(fd, search.looksFor, search.at);
      pace.took(start);
      if (next === undefined) return after(sizeOf(file), (size) => search.ended(size, extents));
      search.found(next, extents);
    }
  } catch (error) {
    throw blame(file, error);
  }
  return undefined;
}

async function searchLater(file: OpenFile, search: Search, extents: Extents): Promise<void> {
  const { calls, fd, pace } = file;
  try {
    while (!search.over) {
      const start = pace.now();
      const next = await calls.seek(fd, search.looksFor, search.at);
      pace.took(start);
      if (next === undefined) search.ended(await sizeOf(file), extents);
      else search.found(next, extents);
    }
  } catch (error) {
    throw blame(file, error);
  }
}

/** Looks for data and holes alternately. */
class Search {
  at: bigint;
  looksFor: "data" | "hole" = "data";
  readonly #end: bigint;
  readonly #most: number;
  #extents = 0;
  #steps = 0;

  constructor(at: bigint, end: bigint, most: number) {
    this.at = at;
    this.#end = end;
    this.#most = most;
  }

  /** Each extent takes two steps at most, unless the file changes meanwhile. */
  get over(): boolean {
    return this.at >= this.#end || this.#extents === this.#most || this.#steps === 2 * mostExtents;
  }

  /** `next`: where the next data or hole begins. */
  found(next: bigint, extents: Extents): void {
    if (next > this.at) {
      extents.add(this.at, next - this.at, this.looksFor === "data" ? hole : 0);
      this.#extents += 1;
      this.at = next;
    }
    this.#steps += 1;
    this.looksFor = this.looksFor === "data" ? "hole" : "data";
  }

  /**
   * There is no more data up to the end of the file, which has `size` bytes now. A file that
   * became shorter has no hole beyond its end, although SEEK_DATA gives the same answer there: a
   * read must fail, and the server only reads ranges that are reported as data.
   */
  ended(size: bigint, extents: Extents): void {
    if (size > this.at) {
      const until = size < this.#end ? size : this.#end;
      extents.add(this.at, until - this.at, this.looksFor === "data" ? hole : 0);
      this.at = until;
    }
    if (this.#end > this.at) extents.add(this.at, this.#end - this.at, 0);
    this.at = this.#end;
  }
}
