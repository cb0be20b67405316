/**
 * Makes another program of this process, which Bun cannot: the pid, the standard streams and the environment stay, and
 * the limit of open files is the one that this process was started with.
 */
import { ptr } from "bun:ffi";
import { constants } from "node:os";

import { callsOf, lastErrno } from "./call.ts";
import { restoreOpenFiles } from "./open-files.ts";
import { cBytes, cStrings } from "./text.ts";

const calls = callsOf("execv", "signal");

/** execv(3). Returns the errno if it fails, else not at all. */
export function exec(path: string, argv: readonly string[]): number {
  const libc = calls();
  const program = cBytes(path);
  const words = cStrings(argv);
  // What is ignored stays ignored, and the program may count on dying of it.
  restoreOpenFiles();
  libc.signal(constants.signals.SIGPIPE, null);
  libc.execv(ptr(program), ptr(words));
  return lastErrno();
}
