/** Starts servers in the background, this one and nbdkit, and makes sure that each ends. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { installed, program, type Ran, run, until } from "#test/server";

/** Whether a process exists and is not a zombie. */
export function isRunning(pid: number): boolean {
  const path = `/proc/${pid}/cmdline`;
  try {
    return existsSync(path) && readFileSync(path, "utf8") !== "";
  } catch {
    return false;
  }
}

function contentOf(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

export interface Started extends AsyncDisposable {
  /** The result of the process that was started: the parent of the daemon. */
  readonly ran: Ran;
  /** The server's process ID, from the pid file. */
  readonly pid: number;
  /** Send it the signal, and wait for its end. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

/** A temporary folder for one test. */
export class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "nbdkit-test-"));

  file(name: string): string {
    return join(this.path, name);
  }

  /** Start a daemon in this folder. Its pid file is `pid`. */
  async daemon(args: readonly string[], command: readonly string[] = program): Promise<Started> {
    const pidFile = this.file("pid");
    rmSync(pidFile, { force: true });
    const ran = await run([...command, "-P", "pid", ...args], { cwd: this.path });
    // nbdkit's parent does not wait for it.
    if (ran.code === 0) await until(() => contentOf(pidFile).endsWith("\n"));
    const pid = Number(contentOf(pidFile));
    const end = async (signal: NodeJS.Signals = "SIGTERM"): Promise<void> => {
      if (pid === 0) return;
      if (isRunning(pid)) process.kill(pid, signal);
      await until(() => !isRunning(pid));
    };
    return { ran, pid, end, [Symbol.asyncDispose]: () => end("SIGKILL") };
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** This server and, if installed, nbdkit. */
export const servers: readonly (readonly [string, readonly string[]])[] = [
  ["ours", program],
  ...(installed("nbdkit") ? ([["nbdkit", ["nbdkit"]]] as const) : []),
];
