/** Calls of layers outside requests, such as open and get_ready. */
import { isPromise, promiseOf } from "../api/awaitable.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { ConfigError } from "../lib/errors.ts";
import { noteOrigin } from "../lib/speaker.ts";
import { stackOf } from "../lib/thrown.ts";
import { methodName } from "./answers.ts";
import { attempt, knownFailure } from "./failure.ts";
import type { Layer } from "./layer.ts";
import { numberOf, runAs } from "./running.ts";
import { turnTime } from "./turn-time.ts";

/** A call that a layer has not answered yet. */
export interface Waiting {
  /** The same object for the same call, however often the calls are listed. */
  readonly call: object;
  /** The name of the layer. */
  readonly title: string;
  readonly method: string;
  /** The range; both are 0 for a method without one. */
  readonly count: number;
  readonly offset: bigint;
  /** The client's name in log lines; empty outside connections. */
  readonly logName: string;
  /** When it began, by `turnTime`. */
  readonly since: number;
}

/** Those that are not answered yet. */
export const outside = new Set<Waiting>();

/** Remember the call until it is answered. */
export function waitFor<T>(
  { name: title }: Pick<Layer, "name">,
  method: string,
  logName: string,
  result: Awaitable<T>,
): Awaitable<T> {
  if (!isPromise(result)) return result;
  const since = turnTime();
  const it: Waiting = { call: {}, title, method, count: 0, offset: 0n, logName, since };
  outside.add(it);
  const end = (): void => void outside.delete(it);
  promiseOf(result).then(end, end);
  return result;
}

/**
 * Call a method of the life cycle, whose failure ends the server. A ConfigError, an NbdError and an error of node:fs
 * say what is wrong. Anything else is a bug, and the message has its stack.
 */
export function lifeCycle<T>(
  layer: Pick<Layer, "inTypeScript" | "name">,
  method: string,
  call: () => Awaitable<T>,
): Awaitable<T> {
  const shownName = methodName(layer, method);
  const go = () => runAs(numberOf(layer), shownName, call);
  const result = attempt(go, (error) => {
    const where = `${layer.name}: ${shownName}`;
    const known = error instanceof ConfigError ? error : knownFailure(error, where);
    if (known !== undefined) {
      noteOrigin(known, layer.name);
      return known;
    }
    return new ConfigError(`${where} threw an unexpected exception: ${stackOf(error)}`, {
      cause: error,
    });
  });
  return waitFor(layer, shownName, "", result);
}
