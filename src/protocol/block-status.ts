/** Cuts extents into the blocks of a reply to BLOCK_STATUS. */
import { EXTENT_HOLE, EXTENT_ZERO, type Extents } from "../lib/extents.ts";

/** Of `base:allocation`: the bits are those of extents. */
const knownTypes = EXTENT_HOLE | EXTENT_ZERO;
const longest = 0xffffffff;
/** What is longer is cut here rather than at an odd number, so that clients stay aligned. */
const longestAligned = 0xffff0000;

export interface StatusBlock {
  length: number;
  readonly type: number;
}

/**
 * The blocks from `offset` on. With `one` it is the first one, no longer than what was asked for; otherwise
 * all that begin within `count` bytes, of which the last may reach further. None where the extents do not
 * begin at `offset`.
 */
export function describeBlocks(
  extents: Extents,
  offset: bigint,
  count: number,
  one: boolean,
): readonly StatusBlock[] {
  const [first] = extents.entries;
  if (first === undefined || first.offset !== offset) return [];
  if (one) {
    const length = first.length < BigInt(count) ? Number(first.length) : count;
    return [{ length, type: first.type & knownTypes }];
  }
  const blocks: StatusBlock[] = [];
  const end = offset + BigInt(count);
  for (const extent of extents.entries) {
    if (extent.offset >= end) break;
    const type = extent.type & knownTypes;
    if (extent.length > BigInt(longest)) {
      // The client asks again for what lies behind.
      blocks.push({ length: longestAligned, type });
      break;
    }
    const length = Number(extent.length);
    const last = blocks.at(-1);
    if (last?.type === type && last.length + length <= longest) last.length += length;
    else blocks.push({ length, type });
  }
  return blocks;
}
