/** Makes another program of this process, which Bun cannot: the pid, the standard streams and the environment stay. */
import { ptr, read } from "bun:ffi";
import { constants } from "node:os";

import { openLibc } from "./libc.ts";
import { cBytes, cStrings } from "./text.ts";

/** execv(3). Returns the errno if it fails, else not at all. */
export function exec(path: string, argv: readonly string[]): number {
  const libc = openLibc({
    execv: { args: ["ptr", "ptr"], returns: "i32" },
    // What is ignored stays ignored, and the program may count on dying of it.
    signal: { args: ["i32", "ptr"], returns: "ptr" },
    __errno_location: { args: [], returns: "ptr" },
  });
  const program = cBytes(path);
  const words = cStrings(argv);
  libc.signal(constants.signals.SIGPIPE, null);
  libc.execv(ptr(program), ptr(words));
  const errno = libc["__errno_location"]();
  return errno === null ? 0 : read.i32(errno, 0);
}
