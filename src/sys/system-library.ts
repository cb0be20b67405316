/** Opens libraries of the system by name. */
import { dlopen, type FFIFunction } from "bun:ffi";

import { callsOf } from "./call.ts";
import { RTLD_LAZY } from "./generated/libc.gen.ts";
import { cString, textAt } from "./text.ts";

const libc = callsOf("dlopen", "dlerror");

/**
 * Load functions of the library `name`, which dlopen(3) looks for in the folders of the system. If a library is
 * missing, the dlopen of bun:ffi also looks in the current folder, which may belong to another user. So it is only
 * called once the library is loaded. Throws an error with the reason why the library cannot be loaded.
 */
export function openSystemLibrary<const S extends Record<string, FFIFunction>>(
  name: string,
  wanted: S,
) {
  const reason = openByLoader(name, RTLD_LAZY);
  if (reason !== undefined) throw new Error(reason);
  return dlopen(name, wanted).symbols;
}

/** dlopen(3). Returns the reason if it fails. */
export function openByLoader(name: string, flags: number): string | undefined {
  const { dlopen: open, dlerror } = libc();
  if (open(cString(name), flags) !== null) return undefined;
  const reason = dlerror();
  return reason === null ? "dlopen failed" : textAt(reason);
}
