/** Turns whatever a layer threw into the error that the client, or the layer above, gets. */
import { NbdError } from "../api/errors.ts";
import { isErrno } from "../lib/errno.ts";
import { log } from "../lib/log.ts";

/** Errors that were thrown by mistake, so that each is logged once however far it travels. */
const seen = new WeakSet<object>();

/**
 * An NbdError stays what it is, and an error of node:fs keeps its errno. Anything else is a bug of the
 * layer: its stack is logged and it becomes EIO.
 */
export function failureOf(
  error: unknown,
  layer: string,
  method: string,
  logName: string,
): NbdError {
  if (error instanceof NbdError) return error;
  const code =
    typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
  if (typeof code === "string" && isErrno(code)) return NbdError.from(error, `${layer}: ${method}`);
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  if (!(error instanceof Object && seen.has(error))) {
    if (error instanceof Object) seen.add(error);
    log.error(`${layer}: ${method} threw an unexpected exception: ${text}`, logName);
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new NbdError("EIO", `${layer}: ${method}: ${reason}`, { cause: error });
}
