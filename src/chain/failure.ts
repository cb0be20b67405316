/** Turns anything that a layer throws into the error that the layer above, or the client, gets. */
import { isPromise, promiseOf } from "../api/awaitable.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { isErrno } from "../lib/errno.ts";
import { NbdError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { namedMessage, noteLogged, noteOrigin } from "../lib/speaker.ts";
import { messageOf, shown, stackOf } from "../lib/thrown.ts";
import type { Layer } from "./layer.ts";

/** Errors that were thrown by mistake. The stack of each is logged once, even if a layer throws it again and again. */
const seen = new WeakSet<object>();

/**
 * An NbdError stays what it is, and an error of node:fs keeps its errno. Anything else is a bug of the
 * layer: its stack is logged and it becomes EIO.
 */
export function failureOf(
  error: unknown,
  { inTypeScript, name: layer }: Pick<Layer, "inTypeScript" | "name">,
  method: string,
  logName: string,
): NbdError {
  const known = knownFailure(error, `${layer}: ${method}`);
  if (known !== undefined) {
    // nbdkit does not name C layers in their errors.
    noteOrigin(known, inTypeScript === true ? layer : "");
    if (log.verbose) traceCause(known, `${layer}: ${method}`, logName);
    return known;
  }
  const failure = new NbdError("EIO", `${layer}: ${method}: ${messageOf(error)}`, { cause: error });
  noteOrigin(failure, layer);
  if (!(isObject(error) && seen.has(error))) {
    if (isObject(error)) seen.add(error);
    log.error(`${layer}: ${method} threw an unexpected exception: ${stackOf(error)}`, logName);
    noteLogged(failure);
  }
  return failure;
}

/** Print the stack of the error that the layer made its failure of, such as one of node:fs, as debug lines. */
function traceCause({ cause }: NbdError, where: string, logName: string): void {
  if (!(cause instanceof Error) || cause instanceof NbdError || seen.has(cause)) return;
  seen.add(cause);
  for (const line of stackOf(cause).split("\n")) log.debug(`${where}: ${line.trim()}`, logName);
}

function isObject(it: unknown): it is object {
  return (typeof it === "object" && it !== null) || typeof it === "function";
}

/** The error that the layer meant to throw. Undefined: it threw by mistake. */
export function knownFailure(error: unknown, where: string): NbdError | undefined {
  try {
    if (error instanceof NbdError) {
      // A later reader must find a valid value.
      return isErrno(error.errno) && typeof error.message === "string" ? error : undefined;
    }
    const code = isObject(error) && "code" in error ? error.code : undefined;
    if (typeof code === "string" && isErrno(code)) return NbdError.from(error, where);
  } catch {
    // It cannot even be looked at.
  }
  return undefined;
}

/** Log what a layer threw, unless it is logged already. */
export function logFailure(error: unknown, logName?: string): void {
  const message = error instanceof Error ? namedMessage(error) : messageOf(error);
  if (message !== "") log.error(message, logName);
}

/** Fail if the layer transferred or detached the buffer. Other requests that lost their memory with it fail too. */
export function mustKeep(lent: Uint8Array, count: number, layer: string, method: string): void {
  if (lent.length === count) return;
  const what = "transferred or detached the memory that it was lent";
  throw new NbdError("EIO", `${layer}: ${method} ${what}`);
}

/** The error of a layer whose method returned a value, but should return nothing. */
export function wrongAnswer(title: string, method: string, answer: unknown): NbdError {
  const isPlain = typeof answer !== "object" && typeof answer !== "function";
  const what = isPlain || answer === null ? shown(answer) : `an object (${kindOf(answer)})`;
  const text = `${title}: ${method} returned ${what}: expected undefined or a promise of it`;
  return new NbdError("EIO", text);
}

function kindOf(it: object): string {
  return Object.prototype.toString.call(it).slice("[object ".length, -1);
}

/** The failure of a layer that ended a call without waiting for what it had asked of the layer below for it. */
export function unfinished(title: string, method: string, below: string): NbdError {
  const what = `${method} ended while its ${below} was still under way`;
  return new NbdError("EIO", `${title}: ${what}: await or return it`);
}

/** Call, and pass errors through `wrap`, whether they are thrown now or later. */
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
