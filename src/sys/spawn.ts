/**
 * Starts this program once more, with the same words, environment and descriptors, which Bun.spawn
 * cannot byte by byte.
 */
import { closeSync, fstatSync, readFileSync } from "node:fs";

import { splitWords } from "../lib/environment.ts";
import { foreignDescriptors, setInherited } from "./process.ts";
import { callsOf, systemError } from "./system-error.ts";
import { cBytes, cStrings } from "./text.ts";

const O_CLOEXEC = 0o2000000;

const calls = callsOf({
  pipe2: { args: ["buffer", "i32"], returns: "i32" },
  posix_spawn: { args: ["buffer", "buffer", "ptr", "ptr", "buffer", "buffer"], returns: "i32" },
  waitpid: { args: ["i32", "buffer", "i32"], returns: "i32" },
});

export interface Again {
  /** What the new process writes to the descriptor that it was told comes out here. */
  readonly output: number;
  /** Wait for its end: the status, or 128 + the number of the signal that ended it. */
  wait(): number;
}

/**
 * Start it. The variable `name` holds the descriptor to write to, its inode, which is unique, and the number
 * of this process.
 */
export function startAgain(name: string): Again {
  const libc = calls();
  const ends = new Int32Array(2);
  if (libc.pipe2(ends, O_CLOEXEC) === -1) throw systemError("pipe2");
  const [output = -1, input = -1] = ends;
  // Bun would close them in what is started.
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
    while (libc.waitpid(pid[0] ?? 0, status, 0) === -1) {
      const error = systemError("waitpid");
      if (error.code !== "EINTR") throw error;
    }
    const [word = 0] = status;
    const signal = word & 0x7f;
    return signal === 0 ? (word >> 8) & 0xff : 128 + signal;
  };
  return { output, wait };
}
