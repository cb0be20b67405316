/** Messages from layers: nbdkit_debug and nbdkit_error of nbdkit-plugin(3), "DEBUGGING". */
import { log } from "../lib/log.ts";

/** Print a debug line on stderr when the server was started with -v. */
export function debug(message: string): void {
  log.moduleDebug(message);
}

/** Print an error line without failing the request. To fail it, throw an NbdError instead. */
export function error(message: string): void {
  log.error(message);
}
