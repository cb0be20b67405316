/** Continues after a value that may be available already. In that case there is no await and no promise. */
import type { Awaitable } from "./generated/methods.gen.ts";

/** Whether a layer answers later. Its answer is then a promise, otherwise the value itself. */
export function isPromise<T>(value: Awaitable<T>): value is Promise<T> {
  return (
    value instanceof Promise ||
    (typeof value === "object" &&
      value !== null &&
      "then" in value &&
      typeof value.then === "function")
  );
}

/** The `then` of a library's own kind of promise, as in query builders, need not return a promise. */
export function promiseOf<T>(value: PromiseLike<T>): Promise<T> {
  return value instanceof Promise ? value : Promise.resolve(value);
}

/**
 * Call `go` with the value, now or when it arrives, and return the result of `go` or a promise of
 * it. If the value's promise is rejected, the caller gets the error.
 *
 * @example
 * pread(next, config, buf, offset, flags) {
 *   return after(next.pread(buf, offset, flags), () => decrypt(buf));
 * }
 */
export function after<T, U>(value: Awaitable<T>, go: (value: T) => Awaitable<U>): Awaitable<U> {
  return isPromise(value) ? promiseOf(value).then(go) : go(value);
}
