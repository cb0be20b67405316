/** Calls of layers that get a function as `next`: config, configComplete, preconnect, listExports and defaultExport. */
import { isPromise, promiseOf } from "../api/awaitable.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { NbdError } from "../lib/errors.ts";
import { Calls } from "./calls.ts";

/** Passes on what `next` has returned, and remembers that it was not answered yet. */
export type Watch = <T>(result: Awaitable<T>) => Awaitable<T>;

/**
 * Call a layer, which passes every result of its `next` through `watch`. The layer has to wait for all of them: else it
 * fails, when they have been answered.
 */
export function withNext<T>(
  title: string,
  method: string,
  call: (watch: Watch) => Awaitable<T>,
): Awaitable<T> {
  const calls = new Calls();
  const watch: Watch = (result) => {
    if (isPromise(result)) {
      const asked = calls.begin("next", 0, 0n, undefined);
      const end = (): void => calls.end(asked);
      promiseOf(result).then(end, end);
    }
    return result;
  };
  const fail = async (error: unknown): Promise<never> => {
    await calls.idle();
    throw error;
  };
  const done = (answer: T): Awaitable<T> =>
    calls.count === 0 ? answer : fail(unfinished(title, method, "next"));
  let result: Awaitable<T>;
  try {
    result = call(watch);
  } catch (error) {
    if (calls.count === 0) throw error;
    return fail(error);
  }
  return isPromise(result) ? promiseOf(result).then(done, fail) : done(result);
}

/** A layer ended a call and had not waited for what it had asked of the layer below for it. */
export function unfinished(title: string, method: string, below: string): NbdError {
  const what = `${method} ended while its ${below} was still under way`;
  return new NbdError("EIO", `${title}: ${what}: await or return it`);
}
