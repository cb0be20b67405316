/** Trims and zeroes ranges in the cheapest way that the file system or device has. */
import { type Awaitable, FLAG_FAST_ZERO, FLAG_MAY_TRIM, NbdError } from "#api";

import { type Calls } from "./calls.ts";
import { type OpenFile } from "./open-file.ts";
import { blame } from "./transfer.ts";

/** A device may take a second for a gigabyte, so other clients get a turn between pieces of this size. */
const piece = 16 << 20;

type Way = "allocate" | "discardDevice" | "punchHole" | "zeroDevice" | "zeroRange";

/** Errors that mean "this file cannot do that", for good. */
const never = new Set(["EOPNOTSUPP", "ENOSYS", "ENOTTY"]);
/** Errors that mean "not this time": another way may do. Devices answer so when others use them. */
const notNow = new Set(["EBUSY", "EINVAL", "EREMOTEIO"]);

/** Whether `way` worked. False where the file cannot do it; other errors are thrown. */
function attempt(file: OpenFile, way: Way, offset: bigint, count: number): boolean {
  if (file.lacks.has(way)) return false;
  const call: Calls[Way] = file.calls[way];
  try {
    call(file.fd, offset, count);
    return true;
  } catch (error) {
    const errno = error instanceof NbdError ? error.errno : "EIO";
    if (never.has(errno)) file.lacks.add(way);
    else if (file.sector === undefined || !notNow.has(errno)) throw blame(file, error);
    return false;
  }
}

/** Let go of the range. It is a hint: where nothing can be done, nothing is. */
export function trimRange(file: OpenFile, count: number, offset: bigint): Awaitable<void> {
  const { sector } = file;
  if (sector === undefined) {
    attempt(file, "punchHole", offset, count);
    return undefined;
  }
  // Only whole sectors can be given back.
  const size = BigInt(sector);
  const start = ((offset + size - 1n) / size) * size;
  const end = ((offset + BigInt(count)) / size) * size;
  return inPieces(start, Number(end - start), (at, part) => {
    if (!attempt(file, "punchHole", at, part)) attempt(file, "discardDevice", at, part);
  });
}

/** Make the range read as zeroes without sending any, or throw EOPNOTSUPP: then the chain writes them. */
export function zeroFast(
  file: OpenFile,
  count: number,
  offset: bigint,
  flags: number,
): Awaitable<void> {
  const mayTrim = (flags & FLAG_MAY_TRIM) !== 0;
  const { sector } = file;
  if (sector === undefined) {
    if (!zeroFile(file, count, offset, mayTrim)) throw unable(file, count, offset);
    return undefined;
  }
  if (count % sector !== 0 || offset % BigInt(sector) !== 0n) throw unable(file, count, offset);
  const fast = (flags & FLAG_FAST_ZERO) !== 0;
  return inPieces(offset, count, (at, part) => {
    if (!zeroSectors(file, part, at, mayTrim, fast)) throw unable(file, part, at);
  });
}

function zeroFile(file: OpenFile, count: number, offset: bigint, mayTrim: boolean): boolean {
  if (mayTrim && attempt(file, "punchHole", offset, count)) return true;
  if (attempt(file, "zeroRange", offset, count)) return true;
  // Without a hole in the end: the client asked for zeroes that have their space.
  return (
    !file.lacks.has("allocate") &&
    attempt(file, "punchHole", offset, count) &&
    attempt(file, "allocate", offset, count)
  );
}

/** Of the three only the hole is sure to be fast; the others may make the kernel write zeroes. */
function zeroSectors(
  file: OpenFile,
  count: number,
  offset: bigint,
  mayTrim: boolean,
  fast: boolean,
): boolean {
  if (mayTrim && attempt(file, "punchHole", offset, count)) return true;
  if (fast) return false;
  return attempt(file, "zeroRange", offset, count) || attempt(file, "zeroDevice", offset, count);
}

function unable(file: OpenFile, count: number, offset: bigint): NbdError {
  return new NbdError(
    "EOPNOTSUPP",
    `${file.path}: no way to zero ${count} bytes at ${offset} but to write them`,
  );
}

/** Call `go` for one piece of the range after the other. */
function inPieces(
  offset: bigint,
  count: number,
  go: (offset: bigint, count: number) => void,
): Awaitable<void> {
  if (count > piece) return turnByTurn(offset, count, go);
  if (count > 0) go(offset, count);
  return undefined;
}

async function turnByTurn(
  offset: bigint,
  count: number,
  go: (offset: bigint, count: number) => void,
): Promise<void> {
  for (let done = 0; done < count; done += piece) {
    go(offset + BigInt(done), Math.min(piece, count - done));
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}
