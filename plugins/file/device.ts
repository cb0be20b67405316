/** What a block device tells of itself, and what clients are told of it. */
import { type BlockSize, debug, storage } from "#api";

export interface Device {
  /** The logical sector size. */
  readonly sector: number;
  readonly rotational: boolean;
  readonly blockSize: BlockSize;
}

/** Regular files have no advice. */
export const noBlockSize: BlockSize = { minimum: 0, preferred: 0, maximum: 0 };

/** The most that the protocol, and nbdkit_block_size, allow. */
const mostMinimum = 64 << 10;
const mostPreferred = 32 << 20;
const leastPreferred = 512;
const unlimited = 0xffffffff;

/** What the device on this descriptor is. */
export function deviceOf(fd: number, path: string): Device {
  const sector = storage.sectorSize(fd);
  try {
    const limits = storage.deviceLimits(fd);
    return { sector, rotational: limits.rotational, blockSize: blockSizeOf(limits) };
  } catch (error) {
    debug(`${path}: the device does not tell its limits: ${String(error)}`);
    return { sector, rotational: false, blockSize: noBlockSize };
  }
}

/**
 * The block sizes of a device with these limits. Where they are no powers of two, as the stripes of a RAID of three
 * disks, it is the largest one that divides them.
 */
export function blockSizeOf({
  minimum,
  optimal,
}: Pick<storage.DeviceLimits, "minimum" | "optimal">): BlockSize {
  const least = Math.min(powerIn(minimum), mostMinimum);
  const best = optimal === 0 ? least : Math.min(powerIn(optimal), mostPreferred);
  return {
    minimum: least,
    preferred: Math.max(best, least, leastPreferred),
    maximum: unlimited,
  };
}

/** The largest power of two that divides the number, which has at most 32 bits; 1 of 0. */
function powerIn(number: number): number {
  return number === 0 ? 1 : 2 ** (31 - Math.clz32(number & -number));
}
