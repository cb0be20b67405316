/** A sparse array of bytes, up to 2^63-1 of them. Only written pages exist. */
import { NbdError } from "#api";

import { mostSearchedPages } from "./limits.ts";

const shift = 15n;
/** The bytes in a page, as in nbdkit: extents show them. */
export const pageSize = 1 << Number(shift);
const mask = BigInt(pageSize - 1);
const zeroes = new Uint8Array(new ArrayBuffer(pageSize));

/** Allocates memory for a page; tests make it fail. */
export type Allocate = (size: number) => Buffer;

/** The content of a page: none (it takes no memory), written zeroes, or data. */
type Kind = "data" | "none" | "zeroes";

/** Adjacent bytes of pages of one kind. */
interface Run {
  readonly offset: bigint;
  readonly length: bigint;
  readonly kind: Kind;
}

export class Pages {
  private readonly allocate: Allocate;
  /** By page number, which is below 2^48 and so exact. */
  private readonly pages = new Map<number, Buffer>();

  constructor(allocate: Allocate = (size) => Buffer.alloc(size)) {
    this.allocate = allocate;
  }

  /** The number of pages that take memory. */
  get used(): number {
    return this.pages.size;
  }

  read(buf: Uint8Array, offset: bigint): void {
    let page = pageOf(offset);
    let at = within(offset);
    for (let done = 0; done < buf.length; page += 1, at = 0) {
      const part = Math.min(pageSize - at, buf.length - done);
      const from = this.pages.get(page);
      if (from === undefined) buf.fill(0, done, done + part);
      else from.copy(buf, done, at, at + part);
      done += part;
    }
  }

  write(buf: Uint8Array, offset: bigint): void {
    let page = pageOf(offset);
    let at = within(offset);
    for (let done = 0; done < buf.length; page += 1, at = 0) {
      const part = Math.min(pageSize - at, buf.length - done);
      const to = this.pages.get(page) ?? this.add(page);
      to.set(part === buf.length ? buf : buf.subarray(done, done + part), at);
      done += part;
    }
  }

  /** The runs of pages in a range, in order: at most `most`, and fewer after searching enough pages. */
  runs(count: number, offset: bigint, most = Number.MAX_SAFE_INTEGER): Run[] {
    const found: Run[] = [];
    let page = pageOf(offset);
    let left = mostSearchedPages;
    let done = 0;
    while (done < count && found.length < most && left > 0) {
      const from = done;
      // Of the first page only the part inside the range counts, as in nbdkit.
      const kind = this.kindOf(page, done === 0 ? within(offset) : 0);
      do {
        done += pageSize - (done === 0 ? within(offset) : 0);
        if (kind !== "none") left -= 1;
        page += 1;
      } while (done < count && left > 0 && this.kindOf(page) === kind);
      found.push({ offset: offset + BigInt(from), length: BigInt(done - from), kind });
    }
    return found;
  }

  /** Zero a range, and free pages that only have zeroes afterwards. */
  zero(count: number, offset: bigint): void {
    let page = pageOf(offset);
    let at = within(offset);
    for (let done = 0; done < count; page += 1, at = 0) {
      const part = Math.min(pageSize - at, count - done);
      if (part === pageSize) this.pages.delete(page);
      else this.zeroPart(page, at, at + part);
      done += part;
    }
  }

  private kindOf(page: number, from = 0): Kind {
    const bytes = this.pages.get(page);
    if (bytes === undefined) return "none";
    return bytes.compare(zeroes, from, pageSize, from) === 0 ? "zeroes" : "data";
  }

  private zeroPart(page: number, from: number, to: number): void {
    const bytes = this.pages.get(page);
    if (bytes === undefined) return;
    bytes.fill(0, from, to);
    if (Buffer.compare(bytes, zeroes) === 0) this.pages.delete(page);
  }

  private add(page: number): Buffer {
    try {
      const bytes = this.allocate(pageSize);
      this.pages.set(page, bytes);
      return bytes;
    } catch (error) {
      // RangeError: out of memory. The array or the map could not grow; the stored data stays.
      const used = (this.pages.size * pageSize) / (1 << 20);
      throw new NbdError("ENOMEM", `no memory for one more page (${used} MiB are in use)`, {
        cause: error,
      });
    }
  }
}

/** Numbers are several times as fast as bigints, and exact up to here. */
const exact = BigInt(Number.MAX_SAFE_INTEGER);

function pageOf(offset: bigint): number {
  if (offset > exact) return Number(offset >> shift);
  return Math.floor(Number(offset) / pageSize);
}

function within(offset: bigint): number {
  if (offset > exact) return Number(offset & mask);
  return Number(offset) % pageSize;
}
