/** The one thing that Bun's sockets cannot be told: how much the kernel keeps for a slow reader. */
import { openLibc } from "./libc.ts";

/** Of Linux, the same on x86-64 and aarch64. */
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;

const symbols = {
  setsockopt: { args: ["i32", "i32", "i32", "buffer", "u32"], returns: "i32" },
} as const;

function load() {
  try {
    return openLibc(symbols);
  } catch {
    // Sockets work without it.
    return undefined;
  }
}

let libc: ReturnType<typeof load>;
let loaded = false;

/**
 * Ask for a send buffer of so many bytes: SO_SNDBUF of socket(7). The kernel may give more or less, and -1 for
 * a descriptor is ignored: nothing but speed depends on it.
 */
export function setSendBuffer(fd: number, bytes: number): void {
  if (!loaded) {
    loaded = true;
    libc = load();
  }
  libc?.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, new Int32Array([bytes]), 4);
}
