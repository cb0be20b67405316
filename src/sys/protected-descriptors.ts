/** Protects the server's descriptors from C modules: a module that closes one twice may hit a client's socket. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

import { log } from "../lib/log.ts";
import { messageOf } from "../lib/thrown.ts";

let protect: ((fd: number) => void) | undefined;

/** Protect the descriptor until the server closes it. Does nothing if no C module is loaded. */
export function protectDescriptor(fd: number): void {
  protect?.(fd);
}

/** Protect the descriptor by which Bun detects that a process has ended. */
export function protectProcessDescriptor(pid: number): void {
  if (protect === undefined) return;
  try {
    for (const fd of readdirSync("/proc/self/fd").map(Number)) {
      if (standsFor(fd, pid)) protect(fd);
    }
  } catch (error) {
    log.debug(`descriptors cannot be listed: ${messageOf(error)}`);
  }
}

function standsFor(fd: number, pid: number): boolean {
  try {
    if (readlinkSync(`/proc/self/fd/${fd}`) !== "anon_inode:[pidfd]") return false;
    return readFileSync(`/proc/self/fdinfo/${fd}`, "utf8").includes(`\nPid:\t${pid}\n`);
  } catch {
    // It was readdirSync's own descriptor, or another thread closed it.
    return false;
  }
}

/** Pass all descriptors to protect to `to` from now on. */
export function onProtectedDescriptors(to: (fd: number) => void): void {
  protect = to;
}
