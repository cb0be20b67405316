/** Builds valid and invalid partitioned disks for tests, byte by byte. */
import { crc32 } from "node:zlib";

export interface MbrEntry {
  readonly type: number;
  readonly start: number;
  readonly count: number;
}

export interface GptOptions {
  readonly sectorSize?: number;
  readonly entrySize?: number;
  readonly entryCount?: number;
}

const empty: MbrEntry = { type: 0, start: 0, count: 0 };

/** Bytes that encode their position. */
export function patterned(size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, (_, at) => (at >> 9) * 31 + at * 7);
}

/** Reads of the disk, which must be inside it. `reads` collects their offsets. */
export function readerOf(disk: Uint8Array, reads: bigint[] = []) {
  return async (offset: bigint, count: number): Promise<Uint8Array> => {
    reads.push(offset);
    const bytes = disk.slice(Number(offset), Number(offset) + count);
    if (count <= 0 || offset < 0n || bytes.length !== count)
      throw new Error(`read of ${count} bytes at ${offset}`);
    return bytes;
  };
}

/** Write an MBR or EBR into sector `at`. */
export function putMbr(
  disk: Uint8Array,
  entries: readonly MbrEntry[],
  at = 0,
  sectorSize = 512,
): Uint8Array {
  const view = new DataView(disk.buffer, disk.byteOffset + at * sectorSize, 512);
  for (let index = 0; index < 4; index += 1) {
    const { type, start, count } = entries[index] ?? empty;
    const slot = 446 + 16 * index;
    view.setUint32(slot, 0, true);
    view.setUint32(slot + 4, type, true);
    view.setUint32(slot + 8, start, true);
    view.setUint32(slot + 12, count, true);
  }
  view.setUint16(510, 0xaa55, true);
  return disk;
}

export interface GptEntry {
  readonly number: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** Write a protective MBR, both headers and both arrays. */
export function putGpt(
  disk: Uint8Array,
  partitions: readonly GptEntry[],
  options: GptOptions = {},
): Uint8Array {
  const { sectorSize = 512, entrySize = 128, entryCount = 128 } = options;
  const last = Math.floor(disk.length / sectorSize) - 1;
  const array = new Uint8Array(entrySize * entryCount);
  const view = new DataView(array.buffer);
  for (const { number, first, last: end } of partitions) {
    const at = (number - 1) * entrySize;
    view.setUint32(at, 0x0fc63daf, true);
    view.setBigUint64(at + 32, first, true);
    view.setBigUint64(at + 40, end, true);
  }
  const arraySectors = Math.ceil(array.length / sectorSize);
  putMbr(disk, [{ type: 0xee, start: 1, count: last }]);
  for (const [own, other, entries] of [
    [1, last, 2],
    [last, 1, last - arraySectors],
  ] as const) {
    disk.set(array, entries * sectorSize);
    const header = new DataView(disk.buffer, disk.byteOffset + own * sectorSize, sectorSize);
    new Uint8Array(disk.buffer, header.byteOffset, sectorSize).fill(0);
    disk.set(Buffer.from("EFI PART"), own * sectorSize);
    header.setUint32(8, 0x00010000, true);
    header.setUint32(12, 92, true);
    header.setBigUint64(24, BigInt(own), true);
    header.setBigUint64(32, BigInt(other), true);
    header.setBigUint64(72, BigInt(entries), true);
    header.setUint32(80, entryCount, true);
    header.setUint32(84, entrySize, true);
    header.setUint32(88, crc32(array), true);
    sumHeader(disk, own * sectorSize);
  }
  return disk;
}

/** Correct the checksum of the header at byte `at` after a change. */
export function sumHeader(disk: Uint8Array, at: number): void {
  const view = new DataView(disk.buffer, disk.byteOffset + at);
  view.setUint32(16, 0, true);
  const size = Math.min(view.getUint32(12, true), disk.length - at);
  view.setUint32(16, crc32(disk.subarray(at, at + size)), true);
}

/** Change a field of the header at byte `at` and correct its checksum. */
export function patchHeader(disk: Uint8Array, at: number, change: (view: DataView) => void): void {
  change(new DataView(disk.buffer, disk.byteOffset + at));
  sumHeader(disk, at);
}
