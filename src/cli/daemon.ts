/**
 * Becomes a daemon. Bun cannot fork, so the program starts itself again, and the new process does
 * everything: it loads the modules, binds and serves. The first process only waits until the new
 * one serves, and ends.
 */
import { closeSync, fstatSync, readSync, writeSync } from "node:fs";
import { constants } from "node:os";

import { showPid } from "#abi/bridge/module-pid";

import { ConfigError } from "../lib/errors.ts";
import { log, sendErrorsTo } from "../lib/log.ts";
import { messageOf } from "../lib/thrown.ts";
import {
  descriptorState,
  discard,
  duplicate,
  leaveSession,
  signalOnParentsEnd,
  unsetVariable,
} from "../sys/process.ts";
import { protectDescriptor } from "../sys/protected-descriptors.ts";
import { startAgain } from "../sys/spawn.ts";
import { chooseLog } from "./error-log.ts";
import { keepDescriptor } from "./given-descriptors.ts";
import type { Settings } from "./settings.ts";

/** The environment variable that marks the new process: its descriptor for reports, and the first process. */
const variable = "NBDKIT_READY";

/** The steps that the new process takes at the right moments. */
export interface Daemon {
  /** Leave the terminal and the current folder. Errors still go to the terminal. */
  detach(): void;
  /** Let the first process end, since the server is ready for clients. */
  ready(): void;
}

/** Start the server in the background. Returns the exit status: 0 when the server is ready. */
export function startDaemon(): number {
  let again;
  try {
    again = startAgain(variable);
  } catch (error) {
    const reason = messageOf(error);
    throw new ConfigError(
      `the server cannot be started in the background: ${reason} (-f serves in the foreground)`,
      { cause: error },
    );
  }
  if (readByte(again.output)) return 0;
  const status = again.wait();
  if (status > 128) log.error(`the server was ended by signal ${status - 128} before it served`);
  // The new process has logged the reason; the status must not be 0.
  return status === 0 ? 1 : status;
}

/** False at the end of the pipe, when no process has the other end. */
function readByte(fd: number): boolean {
  for (;;) {
    try {
      return readSync(fd, new Uint8Array(1)) === 1;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EINTR") throw error;
    }
  }
}

/** Whether this is the new process. */
export function enterDaemon(settings: Settings): Daemon | undefined {
  const value = process.env[variable];
  if (value === undefined) return undefined;
  unsetVariable(variable);
  const [, fd = "", inode = "", parent = ""] = /^(\d+):(\d+):(\d+)$/.exec(value) ?? [];
  const report = Number(fd);
  // Bun passes the original variables to programs that modules start, so this one may be for another process.
  if (fd === "" || inodeOf(report) !== Number(inode)) return undefined;
  keepDescriptor(report);
  // Until the server is ready, the end of the first process also ends this one.
  signalOnParentsEnd(constants.signals.SIGTERM);
  if (process.ppid !== Number(parent)) process.exit(1);
  // nbdkit forks when it detaches, and modules detect that by the pid: until then they get the first process's.
  showPid(Number(parent));
  return new Background(report, settings);
}

function inodeOf(fd: number): number | undefined {
  return descriptorState(fd) === "closed" ? undefined : fstatSync(fd).ino;
}

class Background implements Daemon {
  readonly #report: number;
  readonly #settings: Settings;
  #stderr: number | undefined;

  constructor(report: number, settings: Settings) {
    this.#report = report;
    this.#settings = settings;
  }

  detach(): void {
    signalOnParentsEnd(0);
    leaveSession();
    showPid(0);
    process.chdir("/");
    log.debug(`forked into background (new pid = ${process.pid})`);
    const { log: target, verbose } = this.#settings;
    if (target === "default" || target === "stderr") {
      this.#stderr = duplicate(2);
      protectDescriptor(this.#stderr);
      sendErrorsTo({ fd: this.#stderr });
    }
    // With -v debug messages continue.
    if (!verbose) discard(2);
  }

  ready(): void {
    const { log: target } = this.#settings;
    chooseLog(target === "default" ? "syslog" : target);
    if (this.#stderr !== undefined) closeSync(this.#stderr);
    try {
      writeSync(this.#report, "!");
    } catch (error) {
      log.debug(`the process that started the server has ended: ${String(error)}`);
    }
    closeSync(this.#report);
  }
}
