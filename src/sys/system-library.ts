/** Opens libraries of the system by their names. */
import { dlopen, type FFIFunction } from "bun:ffi";

import { openLibc } from "./libc.ts";
import { cBytes } from "./text.ts";

const RTLD_LAZY = 1;

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
  const libc = openLibc({
    dlopen: { args: ["ptr", "i32"], returns: "ptr" },
    dlerror: { args: [], returns: "cstring" },
  });
  if (libc.dlopen(cBytes(name), RTLD_LAZY) === null) throw new Error(String(libc.dlerror()));
  return dlopen(name, wanted).symbols;
}
