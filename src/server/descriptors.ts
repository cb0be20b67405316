/** How close this process is to having no descriptor left for another client. */
import { openFilesLimit } from "../sys/open-files.ts";
import { mostReservedDescriptors } from "./limits.ts";

let threshold: number | undefined;

/** Whether a descriptor that was just opened is among the last ones: the kernel hands out the lowest that is free. */
export function isAmongLast(fd: number): boolean {
  if (threshold === undefined) {
    const limit = openFilesLimit();
    threshold = limit - Math.min(mostReservedDescriptors, Math.floor(limit / 4));
  }
  return fd >= threshold;
}
