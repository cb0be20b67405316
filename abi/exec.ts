/** Makes another program of this process, which Bun cannot: the pid, the standard streams and the environment stay. */
import { ptr, read } from "bun:ffi";
import { constants } from "node:os";

import { openLibc } from "./libc.ts";

/** execv(3). Returns the errno if it fails, else not at all. */
export function exec(path: string, argv: readonly string[]): number {
  const libc = openLibc({
    execv: { args: ["ptr", "ptr"], returns: "i32" },
    // What is ignored stays ignored, and the program may count on dying of it.
    signal: { args: ["i32", "ptr"], returns: "ptr" },
    __errno_location: { args: [], returns: "ptr" },
  });
  const strings = [path, ...argv].map((text) => Buffer.from(`${text}\0`));
  const length = strings.reduce((sum, { byteLength }) => sum + byteLength, 0);
  // Of an ArrayBuffer: such memory does not move.
  const texts = new Uint8Array(new ArrayBuffer(length));
  const pointers = new BigUint64Array(new ArrayBuffer((argv.length + 2) * 8));
  const start = BigInt(ptr(texts));
  let at = 0;
  for (const [i, text] of strings.entries()) {
    texts.set(text, at);
    if (i > 0) pointers[i - 1] = start + BigInt(at);
    at += text.byteLength;
  }
  libc.signal(constants.signals.SIGPIPE, null);
  libc.execv(ptr(texts), ptr(pointers));
  const errno = libc["__errno_location"]();
  return errno === null ? 0 : read.i32(errno, 0);
}
