/** Calls of libc: errno, interrupting signals, and loading at the first use. */
import { type Pointer, toArrayBuffer } from "bun:ffi";
import { expect, test } from "bun:test";

import { errnos } from "../lib/errno.ts";
import { callsOf, checked, fixed, orErrno, uninterrupted } from "./call.ts";

const libc = callsOf("__errno_location", "close");

test("a failed call returns its negated errno, or throws an error with the errno's name", () => {
  expect(orErrno(libc().close(-1))).toBe(-errnos.EBADF);
  expect(() => checked("close", libc().close(-1))).toThrow(
    expect.objectContaining({
      message: "close: Bad file descriptor",
      code: "EBADF",
      errno: errnos.EBADF,
    }),
  );
});

test("only a call that a signal interrupts is repeated", () => {
  // The cast is correct: it is an address of this process.
  const errno = new Int32Array(toArrayBuffer(libc()["__errno_location"]() as Pointer, 0, 4));
  const results = [errnos.EINTR, errnos.EINTR, errnos.EAGAIN, errnos.EBADF];
  const made = uninterrupted(() => {
    errno[0] = results.shift() ?? 0;
    return -1;
  });
  expect([made, results.length]).toEqual([-errnos.EAGAIN, 1]);
});

test("a function that libc lacks makes each call throw, not the import", () => {
  const script = `
    const { symbols } = await import("./generated/libc.gen.ts");
    symbols.no_such_function = { returns: "i32" };
    const { callsOf } = await import("./call.ts");
    const calls = callsOf("close", "no_such_function");
    for (const _ of [1, 2]) try { calls(); } catch (error) { console.log(error.message); }`;
  const run = Bun.spawnSync([process.execPath, "-e", script], { cwd: import.meta.dir });
  const lines = run.stdout.toString().trimEnd().split("\n");
  expect(lines.length).toBe(2);
  for (const line of lines) {
    expect(line).toStartWith("cannot load libc (libc.so.6): ");
    expect(line).toContain("no_such_function");
  }
});

test("fixed returns memory of its own, which does not move", () => {
  const words = fixed(BigUint64Array, 2);
  expect([words.length, words.buffer.byteLength, words.byteOffset]).toEqual([2, 16, 0]);
});
