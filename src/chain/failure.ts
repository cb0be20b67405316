/** Turns whatever a layer threw into the error that the client, or the layer above, gets. */
import type { Awaitable } from "#abi/generated/methods.gen";

import { isPromise, promiseOf } from "../api/awaitable.ts";
import { ConfigError, NbdError } from "../api/errors.ts";
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
  if (!(error instanceof Object && seen.has(error))) {
    if (error instanceof Object) seen.add(error);
    log.error(`${layer}: ${method} threw an unexpected exception: ${textOf(error)}`, logName);
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new NbdError("EIO", `${layer}: ${method}: ${reason}`, { cause: error });
}

/** Call, and throw what `wrap` makes of what was thrown, now or later. */
export function attempt<T>(
  call: () => Awaitable<T>,
  wrap: (error: unknown) => unknown,
): Awaitable<T> {
  const rethrow = (error: unknown): never => {
    throw wrap(error);
  };
  try {
    const result = call();
    return isPromise(result) ? promiseOf(result).then(undefined, rethrow) : result;
  } catch (error) {
    return rethrow(error);
  }
}

/**
 * Call a method of the life cycle, where a failure ends the server. What refuses says so itself; of
 * anything else, a bug, the message tells where it was.
 */
export function lifeCycle<T>(
  layer: string,
  method: string,
  call: () => Awaitable<T>,
): Awaitable<T> {
  return attempt(call, (error) =>
    error instanceof ConfigError || error instanceof NbdError
      ? error
      : new ConfigError(`${layer}: ${method} threw an unexpected exception: ${textOf(error)}`, {
          cause: error,
        }),
  );
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
