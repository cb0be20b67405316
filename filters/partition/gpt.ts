/** The GUID partition table: UEFI specification, "GUID Partition Table (GPT) Disk Layout". */
import { crc32 } from "node:zlib";

import { debug, NbdError } from "#api";

import { arrayPartBytes, mostArrayBytes } from "./limits.ts";
import { type Disk, fail, type Partition, type Table, viewOf } from "./table.ts";

/** The position and form of the array of entries. */
interface Header {
  readonly entries: bigint;
  readonly count: number;
  readonly entrySize: number;
  readonly entriesCrc: number;
}

const signature = "EFI PART";
const smallestHeader = 92;
const smallestEntry = 128;

/** Whether there is a GPT header, valid or not, at the position of the primary or the backup one. */
export async function hasHeader(disk: Disk, which: "backup" | "primary"): Promise<boolean> {
  const last = disk.size / disk.sectorSize - 1n;
  if (last < 1n) return false;
  return isHeader(await disk.read((which === "primary" ? 1n : last) * disk.sectorSize, 8));
}

/** Look for partition `wanted`, in the primary table or, if that is damaged, in the backup at the disk's end. */
export async function readGpt(disk: Disk, wanted: number): Promise<Table> {
  const last = disk.size / disk.sectorSize - 1n;
  if (last < 2n) fail(`disk of ${disk.size} bytes is too small for a GPT`);
  try {
    return await readTable(disk, 1n, wanted);
  } catch (primary) {
    if (!(primary instanceof Damaged)) throw primary;
    try {
      const table = await readTable(disk, last, wanted);
      debug(`primary GPT: ${primary.message}; using the backup at sector ${last}`);
      return table;
    } catch (backup) {
      if (!(backup instanceof Damaged)) throw backup;
      return fail(`GPT is damaged: primary: ${primary.message}; backup: ${backup.message}`);
    }
  }
}

/** A header or its entries do not match their checksums. The other copy may be intact. */
class Damaged extends NbdError {
  constructor(message: string) {
    super("EINVAL", message);
  }
}

async function readTable(disk: Disk, at: bigint, wanted: number): Promise<Table> {
  const header = readHeader(
    disk,
    at,
    await disk.read(at * disk.sectorSize, Number(disk.sectorSize)),
  );
  const { entrySize, count } = header;
  const perPart = Math.max(1, Math.floor(arrayPartBytes / entrySize));
  const numbers: number[] = [];
  let sum = 0;
  let found: Partition | undefined;
  for (let first = 0; first < count; first += perPart) {
    const some = Math.min(perPart, count - first);
    const start = header.entries * disk.sectorSize + BigInt(first) * BigInt(entrySize);
    const bytes = await disk.read(start, some * entrySize);
    sum = crc32(bytes, sum);
    const view = viewOf(bytes);
    for (let index = 0; index < some; index += 1) {
      const partition = readEntry(disk, view, index * entrySize, first + index + 1);
      if (partition === undefined) continue;
      numbers.push(partition.number);
      if (partition.number === wanted) found = partition;
    }
  }
  if (sum !== header.entriesCrc) {
    throw new Damaged(
      `CRC of the entries is ${hex(sum)}, but the header says ${hex(header.entriesCrc)}`,
    );
  }
  return { kind: "GPT", found, numbers };
}

function isHeader(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, 8)).toString("latin1") === signature;
}

function readHeader(disk: Disk, at: bigint, sector: Uint8Array): Header {
  const view = viewOf(sector);
  if (!isHeader(sector)) throw new Damaged(`sector ${at} has no header`);
  const headerSize = view.getUint32(12, true);
  if (headerSize < smallestHeader || headerSize > sector.length) {
    throw new Damaged(`header size ${headerSize} is not ${smallestHeader} to ${sector.length}`);
  }
  const expected = view.getUint32(16, true);
  const summed = sector.slice(0, headerSize);
  summed.fill(0, 16, 20);
  const sum = crc32(summed);
  if (sum !== expected) {
    throw new Damaged(`CRC of the header is ${hex(sum)}, but it says ${hex(expected)}`);
  }
  const own = view.getBigUint64(24, true);
  if (own !== at) throw new Damaged(`the header at sector ${at} says it is at ${own}`);
  const header = {
    entries: view.getBigUint64(72, true),
    count: view.getUint32(80, true),
    entrySize: view.getUint32(84, true),
    entriesCrc: view.getUint32(88, true),
  };
  checkArray(disk, header);
  return header;
}

function checkArray(disk: Disk, { entries, count, entrySize }: Header): void {
  const bytes = BigInt(count) * BigInt(entrySize);
  if (entrySize < smallestEntry || count === 0 || bytes > BigInt(mostArrayBytes)) {
    throw new Damaged(
      `${count} entries of ${entrySize} bytes: expected at least 1 of at least ${smallestEntry}, and at most ${mostArrayBytes} bytes in all`,
    );
  }
  if (entries < 1n || entries * disk.sectorSize + bytes > disk.size) {
    throw new Damaged(
      `${bytes} bytes of entries at sector ${entries} lie outside the disk of ${disk.size} bytes`,
    );
  }
}

/** The partition in the entry at `at`, or undefined if its type says that it is unused. */
function readEntry(disk: Disk, view: DataView, at: number, number: number): Partition | undefined {
  if (view.getBigUint64(at, true) === 0n && view.getBigUint64(at + 8, true) === 0n)
    return undefined;
  const first = view.getBigUint64(at + 32, true);
  const last = view.getBigUint64(at + 40, true);
  return { number, offset: first * disk.sectorSize, range: (last - first + 1n) * disk.sectorSize };
}

function hex(sum: number): string {
  return `0x${sum.toString(16).padStart(8, "0")}`;
}
