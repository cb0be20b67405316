/** Calls of libc that fail with an errno, and errors of them as node makes them: with the errno's name in `code`. */
import { type FFIFunction, type Pointer, read } from "bun:ffi";

import { errnoName } from "../lib/errno.ts";
import { openLibc } from "./libc.ts";

/** Functions of libc, loaded at the first use, and so that nothing is loaded between a call and a look at its errno. */
export function callsOf<const S extends Record<string, FFIFunction>>(wanted: S) {
  let loaded: ReturnType<typeof openLibc<S>> | undefined;
  return () => {
    if (loaded === undefined) {
      lastErrno();
      loaded = openLibc(wanted);
    }
    return loaded;
  };
}

let location: (() => number | bigint | null) | undefined;

/** The errno of the call that this thread just made. */
export function lastErrno(): number {
  location ??= openLibc({ __errno_location: { args: [], returns: "ptr" } })["__errno_location"];
  const address = location();
  // An address of the user half is a safe integer.
  return address === null ? 0 : read.i32(Number(address) as Pointer, 0);
}

/** The error of `call`, which just failed. */
export function systemError(call: string, errno = lastErrno()): Error & { readonly code: string } {
  const code = errnoName(errno);
  return Object.assign(new Error(`${call}: ${code}`), { code, errno });
}
