/** How close this process is to having no descriptor left for another client. */
import { openFilesLimit } from "../sys/open-files.ts";

/** What is kept for layers, which open files for the clients that are there. */
const mostReserved = 256;

let threshold: number | undefined;

/** Whether a descriptor that was just opened is among the last ones: the kernel hands out the lowest that is free. */
export function isAmongLast(fd: number): boolean {
  if (threshold === undefined) {
    const limit = openFilesLimit();
    threshold = limit - Math.min(mostReserved, Math.floor(limit / 4));
  }
  return fd >= threshold;
}
