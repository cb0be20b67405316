/** Going on after a value that may be there already. Nothing is awaited, and no promise made, where it is. */
import type { Awaitable } from "#abi/generated/methods.gen";

export function isPromise<T>(value: Awaitable<T>): value is Promise<T> {
  return (
    value instanceof Promise ||
    (typeof value === "object" &&
      value !== null &&
      "then" in value &&
      typeof value.then === "function")
  );
}

/** Call `go` with the value, now or when it arrives. */
export function after<T, U>(value: Awaitable<T>, go: (value: T) => Awaitable<U>): Awaitable<U> {
  return isPromise(value) ? value.then(go) : go(value);
}
