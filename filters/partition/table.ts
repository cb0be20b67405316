/** The common part of MBR and GPT: how the scan reads the disk, and its results. */
import { NbdError } from "#api";

/** The disk that is scanned. Everything in it is hostile until checked. */
export interface Disk {
  readonly size: bigint;
  readonly sectorSize: bigint;
  /** Read `count` bytes. The range must lie within the disk. */
  read(offset: bigint, count: number): Promise<Uint8Array>;
}

/** The range of a partition in bytes, as in the table: `inside` checks it. */
export interface Partition {
  readonly number: number;
  readonly offset: bigint;
  readonly range: bigint;
}

/** The result of scanning a table. */
export interface Table {
  readonly kind: "GPT" | "MBR";
  /** The requested partition. */
  readonly found?: Partition | undefined;
  /** Why the requested partition exists but cannot be served. */
  readonly refused?: string | undefined;
  /** The numbers of the partitions that can be served, ascending. Complete only if `found` is undefined. */
  readonly numbers: readonly number[];
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The table cannot be trusted, or has no such partition. */
export function fail(message: string): never {
  throw new NbdError("EINVAL", message);
}

/** Refuse a partition that does not lie within the disk. */
export function inside(kind: string, partition: Partition, size: bigint): Partition {
  const { number, offset, range } = partition;
  if (range <= 0n || offset + range > size) {
    fail(
      `partition is outside the disk: ${kind} partition ${number} at offset ${offset} with ${range} bytes, and the disk has ${size} bytes`,
    );
  }
  return partition;
}

/** `1-4, 7` for messages, truncated if a hostile table has thousands. */
export function describe(numbers: readonly number[]): string {
  const ranges: string[] = [];
  for (let at = 0; at < numbers.length;) {
    const start = at;
    while (numbers[at + 1] === (numbers[at] ?? 0) + 1) at += 1;
    if (ranges.length === 16) return `${ranges.join(", ")}, …`;
    ranges.push(start === at ? `${numbers[at]}` : `${numbers[start]}-${numbers[at]}`);
    at += 1;
  }
  return ranges.length === 0 ? "none" : ranges.join(", ");
}
