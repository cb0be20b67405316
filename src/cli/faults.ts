/**
 * Uncaught exceptions and rejections: from a timer or a forgotten promise of a module, or a bug of
 * ours. Before and after serving they end the program. While clients are served they are only
 * logged, since one module's mistake must not take away the disks of all clients.
 */
import { log } from "../lib/log.ts";
import { stackOf } from "../lib/thrown.ts";
import { endAtOnce } from "../sys/process.ts";

let serving = 0;

/** End the program because of a bug. */
export function fail(error: unknown): never {
  log.error(stackOf(error));
  process.exit(1);
}

function handle(error: unknown): void {
  if (serving === 0) fail(error);
  log.error(`an error was not caught, so some request may never be answered: ${stackOf(error)}`);
}

/** Report every uncaught error from now on. */
export function watchFaults(): void {
  process.on("uncaughtException", handle);
  process.on("unhandledRejection", handle);
}

/** Until it is disposed of, faults do not end the program, and calls of process.exit are logged. */
export function surviveFaults(): Disposable {
  serving++;
  process.on("exit", tellEnd);
  return {
    [Symbol.dispose]() {
      serving--;
      process.off("exit", tellEnd);
    },
  };
}

function tellEnd(status: number): void {
  log.error(`a module has ended the server: process.exit(${status})`);
}

/** End the program without waiting for layers. */
export function giveUp(status: number): never {
  process.off("exit", tellEnd);
  endAtOnce(status);
}
