/** Tells which parts of a file are holes, as far as its file system knows. */
import { debug, EXTENT_HOLE, EXTENT_ZERO, type Extents, FLAG_REQ_ONE, NbdError } from "#api";

import { type OpenFile } from "./open-file.ts";
import { blame } from "./transfer.ts";

const hole = EXTENT_HOLE | EXTENT_ZERO;

/** Some file systems need long to find a hole, so other clients get their turn before all are found. */
const mostSteps = 2048;

/** Whether the file system can tell. */
export function tellsHoles(file: OpenFile): boolean {
  try {
    file.calls.seek(file.fd, "hole", 0n);
    return true;
  } catch (error) {
    if (!(error instanceof NbdError)) throw error;
    debug(`extents disabled: ${file.path}: ${error.message}`);
    return false;
  }
}

/** Add what is found from `offset` on: all of the range, or enough to go on with. */
export function addHoles(
  file: OpenFile,
  count: number,
  offset: bigint,
  flags: number,
  extents: Extents,
): void {
  const end = offset + BigInt(count);
  const most = flags & FLAG_REQ_ONE ? 1 : mostSteps;
  let at = offset;
  let looksFor: "data" | "hole" = "data";
  try {
    // Each extent takes two steps at most, unless somebody changes the file meanwhile.
    for (let found = 0, step = 0; found < most && at < end && step < 2 * mostSteps; step += 1) {
      // No more data: a hole up to the end of the file, or beyond a file that became shorter.
      const next: bigint = file.calls.seek(file.fd, looksFor, at) ?? end;
      if (next > at) {
        extents.add(at, next - at, looksFor === "data" ? hole : 0);
        found += 1;
        at = next;
      }
      looksFor = looksFor === "data" ? "hole" : "data";
    }
  } catch (error) {
    throw blame(file, error);
  }
}
