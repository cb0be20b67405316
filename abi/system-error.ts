/** Errors of calls of libc, as node makes them: with the name of the errno in `code`. */
import { read } from "bun:ffi";

import { errnoName } from "#lib/errno";

import { openLibc } from "./libc.ts";

const load = () => openLibc({ __errno_location: { args: [], returns: "ptr" } });
let libc: ReturnType<typeof load> | undefined;

/** The errno of the call that this thread just made. */
function lastErrno(): number {
  libc ??= load();
  const address = libc["__errno_location"]();
  return address === null ? 0 : read.i32(address, 0);
}

/** Load what `lastErrno` needs: loading later would change errno. */
export function prepareErrno(): void {
  lastErrno();
}

/** The error of `call`, which just failed. */
export function systemError(call: string, errno = lastErrno()): Error & { readonly code: string } {
  const code = errnoName(errno);
  return Object.assign(new Error(`${call}: ${code}`), { code, errno });
}
