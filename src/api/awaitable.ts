/** Going on after a value that may be there already. Nothing is awaited, and no promise made, where it is. */
import type { Awaitable } from "./generated/methods.gen.ts";

/** Whether a layer's answer comes later: then it is a promise, else it is the value itself. */
export function isPromise<T>(value: Awaitable<T>): value is Promise<T> {
  return (
    value instanceof Promise ||
    (typeof value === "object" &&
      value !== null &&
      "then" in value &&
      typeof value.then === "function")
  );
}

/** A library's own kind of promise, as query builders have it, need not answer `then` with a promise. */
export function promiseOf<T>(value: PromiseLike<T>): Promise<T> {
  return value instanceof Promise ? value : Promise.resolve(value);
}

/**
 * Call `go` with the value, now or when it arrives, and return what `go` returned or a promise of it. An
 * error that the value's promise is rejected with goes on to the caller.
 *
 * @example
 * pread(next, config, buf, offset, flags) {
 *   return after(next.pread(buf, offset, flags), () => decrypt(buf));
 * }
 */
export function after<T, U>(value: Awaitable<T>, go: (value: T) => Awaitable<U>): Awaitable<U> {
  return isPromise(value) ? promiseOf(value).then(go) : go(value);
}
