/** The state of every block of a disk of any size: only blocks in use take memory. */

/** The block is unchanged, and only in the layer below. */
export const HOLE = 0;
/** The block is in the overlay. */
export const ALLOCATED = 1;
/** The block reads as zeroes, and is in neither place. */
export const TRIMMED = 2;
export type BlockState = typeof ALLOCATED | typeof HOLE | typeof TRIMMED;

/** The states of adjacent blocks, two bits each, and their place in the overlay file. */
interface Page {
  readonly bits: Uint8Array;
  /** Where its first block lies in the overlay, counted in blocks; -1 until one of its blocks is allocated. */
  place: number;
}

/**
 * Block numbers go up to 2^51 (2^63 bytes in blocks of 4096), so they are exact as numbers.
 *
 * Pages get their places in the overlay in the order of their first writes. So the overlay is
 * never larger than the written pages, and a huge disk does not need a file system that supports
 * huge files. Inside a page blocks keep their order, so that runs stay runs.
 */
export class Blocks {
  readonly pageBlocks: number;
  private readonly pages = new Map<number, Page>();
  private readonly claim: (blocks: number) => number;

  /** `claim` reserves this many blocks of the overlay for the caller, and returns the number of the first. */
  constructor(pageBlocks: number, claim: (blocks: number) => number) {
    this.pageBlocks = pageBlocks;
    this.claim = claim;
  }

  /** No block has left HOLE yet. */
  get untouched(): boolean {
    return this.pages.size === 0;
  }

  get(block: number): BlockState {
    const page = this.pages.get(Math.floor(block / this.pageBlocks));
    return page === undefined ? HOLE : stateIn(page, block % this.pageBlocks);
  }

  set(first: number, count: number, state: BlockState): void {
    for (let block = first; block < first + count;) {
      const page = this.page(Math.floor(block / this.pageBlocks));
      const from = block % this.pageBlocks;
      const some = Math.min(first + count - block, this.reach(block));
      fill(page.bits, from, some, state);
      block += some;
    }
  }

  /**
   * The number of blocks from `first` on, at most `limit`, that have the same state and, if
   * allocated, are adjacent in the overlay.
   */
  run(first: number, limit: number): number {
    const state = this.get(first);
    const end = first + (state === ALLOCATED ? Math.min(limit, this.reach(first)) : limit);
    let at = first;
    while (at < end) {
      const page = this.pages.get(Math.floor(at / this.pageBlocks));
      const pageEnd = Math.min(end, at + this.reach(at));
      if (page === undefined) {
        if (state !== HOLE) break;
        at = pageEnd;
      } else {
        const base = at - (at % this.pageBlocks);
        while (at < pageEnd && stateIn(page, at - base) === state) at += 1;
        if (at < pageEnd) break;
      }
    }
    return at - first;
  }

  /** The number of blocks from `block` on that are adjacent in the overlay. */
  reach(block: number): number {
    return this.pageBlocks - (block % this.pageBlocks);
  }

  /** Where `block` lies in the overlay, counted in blocks. Gives its page a place if it has none. */
  place(block: number): number {
    const page = this.page(Math.floor(block / this.pageBlocks));
    if (page.place < 0) page.place = this.claim(this.pageBlocks);
    return page.place + (block % this.pageBlocks);
  }

  private page(number: number): Page {
    let page = this.pages.get(number);
    if (page === undefined) {
      page = { bits: new Uint8Array(Math.ceil(this.pageBlocks / 4)), place: -1 };
      this.pages.set(number, page);
    }
    return page;
  }
}

function stateIn(page: Page, index: number): BlockState {
  // The cast is correct, since only `fill` writes the bits, and it only writes states.
  return (((page.bits[index >> 2] ?? 0) >> ((index & 3) * 2)) & 3) as BlockState;
}

function fill(bits: Uint8Array, from: number, count: number, state: BlockState): void {
  const one = (index: number) => {
    const shift = (index & 3) * 2;
    bits[index >> 2] = ((bits[index >> 2] ?? 0) & ~(3 << shift)) | (state << shift);
  };
  let index = from;
  const end = from + count;
  while (index < end && (index & 3) !== 0) one(index++);
  const whole = end & ~3;
  if (index < whole) {
    bits.fill(state * 0x55, index >> 2, whole >> 2);
    index = whole;
  }
  while (index < end) one(index++);
}
