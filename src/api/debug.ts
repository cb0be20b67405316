/** Messages from layers: nbdkit_debug and nbdkit_error of nbdkit-plugin(3), "DEBUGGING". */
import { NbdError } from "../lib/errors.ts";
import { hexdiff, hexdump } from "../lib/hexdump.ts";
import { log } from "../lib/log.ts";
import { currentSpeaker, named } from "../lib/speaker.ts";

/** Print a debug line on stderr when the server was started with -v. */
export function debug(message: string): void {
  if (!log.verbose) return;
  const { layer, logName } = currentSpeaker();
  log.moduleDebug(named(layer, message), logName);
}

/**
 * Print bytes as debug lines, 16 to the line, when the server was started with -v:
 * nbdkit_debug_hexdump(3). The first byte is numbered `start`; each line starts with `prefix`.
 */
export function debugHexdump(bytes: Uint8Array, prefix = "", start = 0n): void {
  if (!log.verbose) return;
  for (const line of hexdump(bytes, start)) log.moduleDebug(prefix + line);
}

/** Print how two buffers of the same length differ: nbdkit_debug_hexdiff(3). */
export function debugHexdiff(bytes: Uint8Array, others: Uint8Array, prefix = "", start = 0n): void {
  if (bytes.length !== others.length) {
    throw new NbdError(
      "EINVAL",
      `debugHexdiff: the buffers have ${bytes.length} and ${others.length} bytes: expected as many`,
    );
  }
  if (!log.verbose) return;
  for (const line of hexdiff(bytes, others, start)) log.moduleDebug(prefix + line);
}

/** The name that --name has given the server: nbdkit_name(3). */
export function serverName(): string | undefined {
  return log.serverName;
}

/** Print an error line. This does not fail the request; to fail it, throw an NbdError. */
export function error(message: string): void {
  const { layer, logName } = currentSpeaker();
  log.error(named(layer, message), logName);
}
