/**
 * Replaces this process by another program, which Bun cannot do. The pid, the standard streams and the environment
 * stay; the limit of open files becomes the one that this process started with.
 */
import { ptr } from "bun:ffi";
import { constants } from "node:os";

import { callsOf, lastErrno } from "./call.ts";
import { restoreOpenFiles } from "./open-files.ts";
import { cBytes, cStrings } from "./text.ts";

const calls = callsOf("execv", "signal");

/** execv(3). Returns the errno on failure, and does not return on success. */
export function exec(path: string, argv: readonly string[]): number {
  const libc = calls();
  const program = cBytes(path);
  const words = cStrings(argv);
  restoreOpenFiles();
  // Ignored signals survive execv(2), and the program may rely on being killed by SIGPIPE.
  libc.signal(constants.signals.SIGPIPE, null);
  libc.execv(ptr(program), ptr(words));
  return lastErrno();
}
