/** The properties of a block device, and those that clients get. */
import { type BlockSize, debug, storage } from "#api";

export interface Device {
  /** The logical sector size. */
  readonly sector: number;
  readonly rotational: boolean;
  readonly blockSize: BlockSize;
}

/** Regular files have no preferred sizes. */
export const noBlockSize: BlockSize = { minimum: 0, preferred: 0, maximum: 0 };

/** The limits of the protocol and of nbdkit's block_size. */
const mostMinimum = 64 << 10;
const mostPreferred = 32 << 20;
const leastPreferred = 512;
const unlimited = 0xffffffff;

/** The properties of the device on this descriptor. */
export function deviceOf(fd: number, path: string): Device {
  const sector = storage.sectorSize(fd);
  try {
    const limits = storage.deviceLimits(fd);
    return { sector, rotational: limits.rotational, blockSize: blockSizeOf(limits) };
  } catch (error) {
    debug(`${path}: the device does not report its limits: ${String(error)}`);
    return { sector, rotational: false, blockSize: noBlockSize };
  }
}

/**
 * The block sizes of a device with these limits. If a limit is not a power of two, as with the
 * stripes of a RAID of three disks, the largest power of two that divides it.
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
