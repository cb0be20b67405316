/** Trims and zeroes ranges in the cheapest way that the file system or device has. */
import { FLAG_FAST_ZERO, FLAG_MAY_TRIM, NbdError } from "#api";

import { type Calls } from "./calls.ts";
import { type OpenFile } from "./open-file.ts";
import { blame } from "./transfer.ts";

type Way = "allocate" | "discardDevice" | "punchHole" | "zeroDevice" | "zeroRange";

/** Errors that mean "this file cannot do that", for good. */
const never = new Set(["EOPNOTSUPP", "ENOSYS", "ENOTTY"]);
/** Errors that mean "not this time": another way may work. Devices return them while other programs use them. */
const notNow = new Set(["EBUSY", "EINVAL", "EREMOTEIO"]);

/** Whether `way` worked. False if the file does not support it; other errors are thrown. */
async function attempt(file: OpenFile, way: Way, offset: bigint, count: number): Promise<boolean> {
  if (file.lacks.has(way)) return false;
  const call: Calls[Way] = file.calls[way];
  try {
    await call(file.fd, offset, count);
    return true;
  } catch (error) {
    const errno = error instanceof NbdError ? error.errno : "EIO";
    if (never.has(errno)) file.lacks.add(way);
    else if (file.sector === undefined || !notNow.has(errno)) throw blame(file, error);
    return false;
  }
}

/** Discard the range. It is a hint: without support it does nothing. */
export function trimRange(file: OpenFile, count: number, offset: bigint): Promise<void> {
  return file.changes.run(offset, count, async () => {
    const { sector } = file;
    if (sector === undefined) {
      await attempt(file, "punchHole", offset, count);
      return;
    }
    // Only whole sectors can be discarded.
    const size = BigInt(sector);
    const start = ((offset + size - 1n) / size) * size;
    const whole = Number(((offset + BigInt(count)) / size) * size - start);
    if (whole <= 0) return;
    if (await attempt(file, "punchHole", start, whole)) return;
    await attempt(file, "discardDevice", start, whole);
  });
}

/** Make the range read as zeroes without sending any, or throw EOPNOTSUPP: then the chain writes them. */
export function zeroFast(
  file: OpenFile,
  count: number,
  offset: bigint,
  flags: number,
): Promise<void> {
  const mayTrim = (flags & FLAG_MAY_TRIM) !== 0;
  const fast = (flags & FLAG_FAST_ZERO) !== 0;
  return file.changes.run(offset, count, async () => {
    const done =
      file.sector === undefined
        ? await zeroFile(file, count, offset, mayTrim)
        : await zeroSectors(file, count, offset, { mayTrim, fast, sector: file.sector });
    if (!done) throw unable(file, count, offset);
  });
}

async function zeroFile(
  file: OpenFile,
  count: number,
  offset: bigint,
  mayTrim: boolean,
): Promise<boolean> {
  if (mayTrim && (await attempt(file, "punchHole", offset, count))) return true;
  if (await attempt(file, "zeroRange", offset, count)) return true;
  // The result must not be a hole: the client wants zeroes with space reserved.
  return (
    !file.lacks.has("allocate") &&
    (await attempt(file, "punchHole", offset, count)) &&
    (await attempt(file, "allocate", offset, count))
  );
}

/** Only the hole is certain to be fast; with the other two the kernel may write zeroes. */
async function zeroSectors(
  file: OpenFile,
  count: number,
  offset: bigint,
  { mayTrim, fast, sector }: { mayTrim: boolean; fast: boolean; sector: number },
): Promise<boolean> {
  if (count % sector !== 0 || offset % BigInt(sector) !== 0n) return false;
  if (mayTrim && (await attempt(file, "punchHole", offset, count))) return true;
  if (fast) return false;
  return (
    (await attempt(file, "zeroRange", offset, count)) ||
    (await attempt(file, "zeroDevice", offset, count))
  );
}

function unable(file: OpenFile, count: number, offset: bigint): NbdError {
  return new NbdError(
    "EOPNOTSUPP",
    `${file.path}: cannot zero ${count} bytes at ${offset} without writing them`,
  );
}
