/** Starts this program again with the same arguments, environment and descriptors. Bun.spawn would change bytes. */
import { closeSync, fstatSync, readFileSync } from "node:fs";

import { splitWords } from "../lib/environment.ts";
import { callsOf, checked, systemError, uninterrupted } from "./call.ts";
import { O_CLOEXEC } from "./generated/libc.gen.ts";
import { foreignDescriptors, setInherited } from "./process.ts";
import { cBytes, cStrings } from "./text.ts";

const calls = callsOf("pipe2", "posix_spawn", "waitpid");

export interface StartedAgain {
  /** Reads what the new process writes to the descriptor named in its environment. */
  readonly output: number;
  /** Wait for the process to end. Returns its status, or 128 + the number of the signal that ended it. */
  wait(): number;
}

/**
 * Start the program. Its environment variable `name` holds the descriptor to write to, the descriptor's inode, which is
 * unique, and the pid of this process.
 */
export function startAgain(name: string): StartedAgain {
  const libc = calls();
  const ends = new Int32Array(2);
  checked("pipe2", libc.pipe2(ends, O_CLOEXEC));
  const [output = -1, input = -1] = ends;
  // Bun would close them in the new process.
  for (const fd of foreignDescriptors()) setInherited(fd, fd !== output);
  const pid = new Int32Array(1);
  const environment = splitWords(readFileSync("/proc/self/environ")).filter(
    (word) => !word.startsWith(`${name}=`),
  );
  const variable = `${name}=${input}:${fstatSync(input).ino}:${process.pid}`;
  const failure = libc.posix_spawn(
    pid,
    cBytes(process.execPath),
    null,
    null,
    cStrings(splitWords(readFileSync("/proc/self/cmdline"))),
    cStrings([...environment, variable]),
  );
  closeSync(input);
  if (failure !== 0) throw systemError("posix_spawn", failure);
  const wait = (): number => {
    const status = new Int32Array(1);
    const ended = uninterrupted(() => libc.waitpid(pid[0] ?? 0, status, 0));
    if (ended < 0) throw systemError("waitpid", -ended);
    const [word = 0] = status;
    const signal = word & 0x7f;
    return signal === 0 ? (word >> 8) & 0xff : 128 + signal;
  };
  return { output, wait };
}
