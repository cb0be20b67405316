/** The MBR partition table: four primary entries, and logical partitions in a chain of EBR sectors. */
import { mostLinks } from "./limits.ts";
import { type Disk, fail, type Partition, type Table, viewOf } from "./table.ts";

/** One 16-byte entry, in sectors. */
interface Entry {
  readonly type: number;
  readonly start: bigint;
  readonly count: bigint;
}

/** Extended partitions, for CHS, LBA and Linux. */
const extendedTypes: readonly number[] = [0x05, 0x0f, 0x85];
const protectiveType = 0xee;

/** Whether the first sector has the signature that both MBR and GPT disks carry. */
export function isBootSector(sector: Uint8Array): boolean {
  return sector[510] === 0x55 && sector[511] === 0xaa;
}

/** Whether the table only says that the real one is a GPT. */
export function isProtective(sector: Uint8Array): boolean {
  return entries(sector, 4).some((entry) => entry.type === protectiveType);
}

/** Look for partition `wanted` in the table that starts with `sector`. */
export async function readMbr(disk: Disk, sector: Uint8Array, wanted: number): Promise<Table> {
  const numbers: number[] = [];
  const extended: Entry[] = [];
  let refused: string | undefined;
  for (const [index, entry] of entries(sector, 4).entries()) {
    const number = index + 1;
    if (isEmpty(entry)) continue;
    if (isExtended(entry)) {
      extended.push(entry);
      if (number === wanted) refused = "it is the extended partition, which only contains others";
      continue;
    }
    numbers.push(number);
    if (number === wanted) return { kind: "MBR", found: partition(disk, number, entry), numbers };
  }
  try {
    const found = await readLogical(disk, extended, wanted, numbers);
    return { kind: "MBR", found, refused, numbers };
  } catch (error) {
    // A broken chain only matters for logical partitions.
    if (wanted > 4) throw error;
    return { kind: "MBR", refused, numbers };
  }
}

/**
 * Follow the chain of EBRs, adding to `numbers`, until `wanted` is found.
 *
 *     extended partition
 *     ├─ EBR: [logical, from this EBR] [link, from the extended partition's start] ─┐
 *     └─ EBR: [logical] [empty: the end]  ◀──────────────────────────────────────────┘
 */
async function readLogical(
  disk: Disk,
  extended: readonly Entry[],
  wanted: number,
  numbers: number[],
): Promise<Partition | undefined> {
  let number = 4;
  const seen = new Set<bigint>();
  for (const outer of extended) {
    let at: bigint | undefined = outer.start;
    while (at !== undefined) {
      const here: bigint = at;
      checkLink(disk, outer, here, seen);
      const sector = await disk.read(here * disk.sectorSize, 512);
      if (!isBootSector(sector)) fail(`the EBR at sector ${here} has no signature`);
      const [logical, link] = entries(sector, 2);
      if (logical !== undefined && !isEmpty(logical) && !isExtended(logical)) {
        number += 1;
        numbers.push(number);
        const entry = { ...logical, start: here + logical.start };
        if (number === wanted) return partition(disk, number, within(outer, number, entry));
      }
      at =
        link !== undefined && isExtended(link) && !isEmpty(link)
          ? outer.start + link.start
          : undefined;
    }
  }
  return undefined;
}

function checkLink(disk: Disk, outer: Entry, at: bigint, seen: Set<bigint>): void {
  const end = outer.start + outer.count;
  if (at < outer.start || at >= end) {
    fail(
      `the EBR chain leads to sector ${at}, outside the extended partition (${outer.start}-${end - 1n})`,
    );
  }
  if ((at + 1n) * disk.sectorSize > disk.size) {
    fail(`the EBR chain leads to sector ${at}, beyond the end of the disk (${disk.size} bytes)`);
  }
  if (at === 0n || seen.has(at)) fail(`the EBR chain returns to sector ${at}`);
  if (seen.size === mostLinks) fail(`the EBR chain has more than ${mostLinks} links`);
  seen.add(at);
}

function within(outer: Entry, number: number, entry: Entry): Entry {
  if (entry.start + entry.count > outer.start + outer.count) {
    fail(
      `MBR partition ${number} (sectors ${entry.start}-${entry.start + entry.count - 1n}) reaches beyond the extended partition (${outer.start}-${outer.start + outer.count - 1n})`,
    );
  }
  return entry;
}

function entries(sector: Uint8Array, count: number): Entry[] {
  const view = viewOf(sector);
  return Array.from({ length: count }, (_, index) => {
    const at = 446 + 16 * index;
    return {
      type: view.getUint8(at + 4),
      start: BigInt(view.getUint32(at + 8, true)),
      count: BigInt(view.getUint32(at + 12, true)),
    };
  });
}

function isEmpty(entry: Entry): boolean {
  return entry.type === 0 || entry.count === 0n;
}

function isExtended(entry: Entry): boolean {
  return extendedTypes.includes(entry.type);
}

function partition(disk: Disk, number: number, entry: Entry): Partition {
  return { number, offset: entry.start * disk.sectorSize, range: entry.count * disk.sectorSize };
}
