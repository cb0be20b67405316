/** Loads a library into the global scope through the same descriptor that was checked. */
import { closeSync, existsSync, readFileSync, writeSync } from "node:fs";

import { callsOf, systemError } from "./call.ts";
import { MFD_CLOEXEC, MFD_EXEC, RTLD_GLOBAL, RTLD_NOW } from "./generated/libc.gen.ts";
import { openByLoader } from "./system-library.ts";
import { openTrusted } from "./trusted.ts";

const globally = RTLD_NOW | RTLD_GLOBAL;

/** A library's file, which is opened only once. */
export interface LibraryFile extends Disposable {
  readonly path: string;
  readonly bytes: Uint8Array;
  /**
   * Load the library, and return the name by which dlopen(3) finds it again. The descriptor then stays open: the loader
   * identifies libraries by name, and a later file must not get this one. Throws an error with the loader's reason.
   */
  load(): string;
}

/** Open a library in a directory that `checkFolder` accepted. Throws an error that names the path. */
export function openLibrary(path: string): LibraryFile {
  let fd: number | undefined = openTrusted(path);
  const bytes = readFileSync(fd);
  return {
    path,
    bytes,
    load() {
      if (fd === undefined) throw new Error(`${path} is closed`);
      const name = nameOf(fd) ?? path;
      const reason = openByLoader(name, globally);
      if (reason === undefined) {
        fd = undefined;
        return name;
      }
      // A file system mounted with noexec refuses libraries as well as programs. Memory does not.
      return loadFromMemory(bytes, `${path}: ${reason}`);
    },
    [Symbol.dispose]() {
      if (fd !== undefined) closeSync(fd);
    },
  };
}

function loadFromMemory(bytes: Uint8Array, reason: string): string {
  const fd = memoryFile();
  const name = nameOf(fd);
  if (name !== undefined) {
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    if (openByLoader(name, globally) === undefined) return name;
  }
  closeSync(fd);
  throw new Error(reason);
}

const memory = callsOf("memfd_create");

/** A descriptor of executable memory. */
function memoryFile(): number {
  const libc = memory();
  for (const flags of [MFD_CLOEXEC | MFD_EXEC, MFD_CLOEXEC]) {
    const fd = libc.memfd_create("nbdkit-runtime", flags);
    if (fd !== -1) return fd;
    const error = systemError("memfd_create");
    // Linux before 6.3 lacks MFD_EXEC.
    if (error.code !== "EINVAL") throw error;
  }
  throw systemError("memfd_create");
}

/** A path that names the descriptor; undefined without /proc. */
function nameOf(fd: number): string | undefined {
  const name = `/proc/self/fd/${fd}`;
  return existsSync(name) ? name : undefined;
}
