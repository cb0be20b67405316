/** Calls of layers that get a function as `next`: config, configComplete, preconnect, listExports and defaultExport. */
import { isPromise, promiseOf } from "../api/awaitable.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { unfinished } from "./failure.ts";

/** Passes on the result of `next`, and remembers it until it is settled. */
export type Watch = <T>(result: Awaitable<T>) => Awaitable<T>;

/**
 * Call a layer, which passes every result of its `next` through `watch`. If the layer answers before all of them are
 * settled, the call fails, but only once they are.
 */
export function withNext<T>(
  title: string,
  method: string,
  call: (watch: Watch) => Awaitable<T>,
): Awaitable<T> {
  const asked = new Set<Promise<unknown>>();
  const watch: Watch = (result) => {
    if (isPromise(result)) {
      const it = promiseOf(result);
      const end = (): void => void asked.delete(it);
      asked.add(it);
      it.then(end, end);
    }
    return result;
  };
  const fail = async (error: unknown): Promise<never> => {
    while (asked.size > 0) await Promise.allSettled(asked);
    throw error;
  };
  const done = (answer: T): Awaitable<T> =>
    asked.size === 0 ? answer : fail(unfinished(title, method, "next"));
  let result: Awaitable<T>;
  try {
    result = call(watch);
  } catch (error) {
    if (asked.size === 0) throw error;
    return fail(error);
  }
  return isPromise(result) ? promiseOf(result).then(done, fail) : done(result);
}
