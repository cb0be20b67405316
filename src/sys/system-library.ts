/** Opens libraries of the system by their names. */
import { dlopen, type FFIFunction } from "bun:ffi";

import { callsOf } from "./call.ts";
import { RTLD_LAZY } from "./generated/libc.gen.ts";
import { cString, textAt } from "./text.ts";

const libc = callsOf("dlopen", "dlerror");

/**
 * Load functions of the library `name`, which dlopen(3) looks for in the folders of the system.
 * Where it is not there, the dlopen of bun:ffi goes on to look in the current folder, which may be
 * another user's, so it is only called with the name of a library that is loaded. Throws an error
 * that says why it cannot be loaded.
 */
export function openSystemLibrary<const S extends Record<string, FFIFunction>>(
  name: string,
  wanted: S,
) {
  const reason = openByLoader(name, RTLD_LAZY);
  if (reason !== undefined) throw new Error(reason);
  return dlopen(name, wanted).symbols;
}

/** dlopen(3). Returns why it fails. */
export function openByLoader(name: string, flags: number): string | undefined {
  const { dlopen: open, dlerror } = libc();
  if (open(cString(name), flags) !== null) return undefined;
  const reason = dlerror();
  return reason === null ? "dlopen failed" : textAt(reason);
}
