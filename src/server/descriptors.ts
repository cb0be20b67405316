/** How close this process is to having no descriptor left for another client. */
import { readFileSync } from "node:fs";

/** What is kept for layers, which open files for the clients that are there. */
const mostReserved = 256;

let threshold: number | undefined;

/** Of all descriptors that there may be; Bun has raised the limit as far as it goes. */
export function descriptorLimit(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "utf8");
    const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
    return soft === undefined ? Infinity : Number(soft);
  } catch {
    return Infinity;
  }
}

/** Whether a descriptor that was just opened is among the last ones: the kernel hands out the lowest that is free. */
export function isAmongLast(fd: number): boolean {
  if (threshold === undefined) {
    const limit = descriptorLimit();
    threshold = limit - Math.min(mostReserved, Math.floor(limit / 4));
  }
  return fd >= threshold;
}
