/** Tells when the process runs low on file descriptors. */
import { openFilesLimit } from "../sys/open-files.ts";
import { mostReservedDescriptors } from "./limits.ts";

let threshold: number | undefined;

/** Whether a new descriptor is among the last free ones. The kernel always returns the lowest that is free. */
export function isAmongLast(fd: number): boolean {
  if (threshold === undefined) {
    const limit = openFilesLimit();
    threshold = limit - Math.min(mostReservedDescriptors, Math.floor(limit / 4));
  }
  return fd >= threshold;
}
