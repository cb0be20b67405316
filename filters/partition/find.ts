/** Finds one partition of a disk, whatever kind of table it has. */
import { NbdError } from "#api";

import { hasHeader, readGpt } from "./gpt.ts";
import { isBootSector, isProtective, readMbr } from "./mbr.ts";
import { describe, type Disk, fail, inside, type Partition, type Table } from "./table.ts";

/** Reads from the layer below. */
export type Read = (offset: bigint, count: number) => Promise<Uint8Array>;
export type SectorSize = 512 | 4096 | "auto";

/** A partition, and the table that it is in. */
export type Found = Partition & Pick<Table, "kind">;

/** The range of partition `wanted`. Throws NbdError if there is no table, or no such partition in it. */
export async function findPartition(
  read: Read,
  size: bigint,
  sectorSize: SectorSize,
  wanted: number,
): Promise<Found> {
  const disk = (bytes: number): Disk => ({ size, sectorSize: BigInt(bytes), read });
  if (size < 1024n) fail(`disk is too small to be a partitioned disk: it has ${size} bytes`);
  const sector = await read(0n, 512);
  if (!isBootSector(sector))
    fail("disk does not contain MBR or GPT partition table signature: sector 0 has none");
  if (!isProtective(sector)) {
    return choose(
      await readMbr(disk(sectorSize === "auto" ? 512 : sectorSize), sector, wanted),
      size,
      wanted,
    );
  }
  const bytes = sectorSize === "auto" ? await guess(disk) : sectorSize;
  try {
    return choose(await readGpt(disk(bytes), wanted), size, wanted);
  } catch (error) {
    throw sectorSize === "auto" ? error : await withHint(error, disk, sectorSize);
  }
}

/** The error, with a hint if there is a GPT for the other sector size. */
async function withHint(
  error: unknown,
  disk: (bytes: number) => Disk,
  sectorSize: 512 | 4096,
): Promise<unknown> {
  const other = sectorSize === 512 ? 4096 : 512;
  const misplaced =
    error instanceof NbdError &&
    !(await hasHeader(disk(sectorSize), "primary")) &&
    (await hasHeader(disk(other), "primary"));
  if (!misplaced) return error;
  const [what, value] = other === 4096 ? ["4K sectors", "4k"] : ["512 byte sectors", "512"];
  return new NbdError(
    error.errno,
    `${error.message}; there is a GPT header at byte ${other}: ` +
      `if the underlying storage uses ${what} try using partition-sectorsize=${value}`,
  );
}

/** The sector size with a GPT header at its position: at the start of the disk, else at its end. */
async function guess(disk: (bytes: number) => Disk): Promise<512 | 4096> {
  if (await hasHeader(disk(512), "primary")) return 512;
  if (await hasHeader(disk(4096), "primary")) return 4096;
  return (await hasHeader(disk(4096), "backup")) ? 4096 : 512;
}

function choose(table: Table, size: bigint, wanted: number): Found {
  const { kind, found, refused, numbers } = table;
  if (found !== undefined) return { ...inside(kind, found, size), kind };
  const reason = refused === undefined ? "not found" : `cannot be served: ${refused}`;
  return fail(
    `${kind} partition ${wanted} ${reason}; the disk's partitions are: ${describe(numbers)}`,
  );
}
