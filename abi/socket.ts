/** The one thing that Bun's sockets cannot be told: how much the kernel keeps for a slow reader. */
import { dlopen } from "bun:ffi";

/** Of Linux, the same on x86-64 and aarch64. */
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;

/** glibc, then musl's names. */
const names = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1", "libc.so"];
const symbols = {
  setsockopt: { args: ["i32", "i32", "i32", "buffer", "u32"], returns: "i32" },
} as const;

function load() {
  for (const name of names) {
    try {
      return dlopen(name, symbols).symbols;
    } catch {
      // Another libc: the next name.
    }
  }
  return undefined;
}

let libc: ReturnType<typeof load>;
let loaded = false;

/** Ask for a larger send buffer. The kernel may give less; nothing but speed depends on it. */
export function setSendBuffer(fd: number, bytes: number): void {
  if (!loaded) {
    loaded = true;
    libc = load();
  }
  libc?.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, new Int32Array([bytes]), 4);
}
