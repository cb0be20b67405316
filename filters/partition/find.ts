/** Finds one partition of a disk, whatever kind of table it has. */
import { hasHeader, readGpt } from "./gpt.ts";
import { isBootSector, isProtective, readMbr } from "./mbr.ts";
import { describe, type Disk, fail, inside, type Partition, type Table } from "./table.ts";

/** Reads from the layer below. */
export type Read = (offset: bigint, count: number) => Promise<Uint8Array>;
export type SectorSize = 512 | 4096 | "auto";

/** Where partition `wanted` lies. Throws NbdError where there is no table, or no such partition in it. */
export async function findPartition(
  read: Read,
  size: bigint,
  sectorSize: SectorSize,
  wanted: number,
): Promise<Partition> {
  const disk = (bytes: number): Disk => ({ size, sectorSize: BigInt(bytes), read });
  if (size < 1024n) fail(`disk of ${size} bytes is too small to be a partitioned disk`);
  const sector = await read(0n, 512);
  if (!isBootSector(sector))
    fail("disk has no MBR or GPT partition table: sector 0 has no signature");
  if (!isProtective(sector)) {
    return choose(
      await readMbr(disk(sectorSize === "auto" ? 512 : sectorSize), sector, wanted),
      size,
      wanted,
    );
  }
  const bytes = sectorSize === "auto" ? await guess(disk) : sectorSize;
  const table = await readGpt(disk(bytes), wanted);
  return choose(table, size, wanted);
}

/** The sector size whose GPT header is in its place: at the start of the disk, else at its end. */
async function guess(disk: (bytes: number) => Disk): Promise<512 | 4096> {
  if (await hasHeader(disk(512), "primary")) return 512;
  if (await hasHeader(disk(4096), "primary")) return 4096;
  return (await hasHeader(disk(4096), "backup")) ? 4096 : 512;
}

function choose(table: Table, size: bigint, wanted: number): Partition {
  const { kind, found, refused, numbers } = table;
  if (found !== undefined) return inside(kind, found, size);
  const reason = refused === undefined ? "not found" : `cannot be served: ${refused}`;
  return fail(
    `${kind} partition ${wanted} ${reason}; the disk's partitions are: ${describe(numbers)}`,
  );
}
