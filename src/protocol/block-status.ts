/** Converts extents to the blocks of a BLOCK_STATUS reply. */
import { EXTENT_HOLE, EXTENT_ZERO, type Extents } from "../lib/extents.ts";

/** The bits of `base:allocation`, which are the same as those of extents. */
const knownTypes = EXTENT_HOLE | EXTENT_ZERO;
/** The longest block. A longer extent is cut here rather than at 2^32-1, so that clients stay aligned. */
const longest = 0xffff0000;

/**
 * Return the blocks from `offset` on, as pairs of length and type. With `one`, return only the first block, cut to the
 * requested range. Otherwise return all blocks that begin within `count` bytes; the last one may end later. Return none
 * if the extents do not begin at `offset`.
 */
export function describeBlocks(
  extents: Extents,
  offset: bigint,
  count: number,
  one: boolean,
): Uint32Array {
  const blocks = new Uint32Array(one ? 2 : 2 * extents.count);
  const end = offset + BigInt(count);
  let n = 0;
  for (const extent of extents) {
    if (extent.offset >= end || (n === 0 && extent.offset !== offset)) break;
    const type = extent.type & knownTypes;
    if (one) {
      blocks.set([extent.length < BigInt(count) ? Number(extent.length) : count, type]);
      return blocks;
    }
    // The client asks again for the range after the cut.
    const cut = extent.length > BigInt(longest);
    const length = cut ? longest : Number(extent.length);
    const before = blocks[n - 2] ?? 0;
    if (!cut && n > 0 && blocks[n - 1] === type && before + length <= longest) {
      blocks[n - 2] = before + length;
    } else {
      blocks.set([length, type], n);
      n += 2;
    }
    if (cut) break;
  }
  return blocks.subarray(0, n);
}
