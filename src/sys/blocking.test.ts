/** Calls on other threads: memory that may move, errors, and many calls at once. */
import { afterAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { storage } from "#api";

const { onThread } = storage;
const folder = mkdtempSync(join(tmpdir(), "nbdkit-blocking-"));
const path = join(folder, "file");
const bytes = Uint8Array.from({ length: 65536 }, (_, i) => (i * 7 + (i >> 8)) % 251);
writeFileSync(path, bytes);
const fd = openSync(path, "r+");
afterAll(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

describe("calls on other threads", () => {
  test("fill arrays of all sizes, even small ones, which may move", async () => {
    const reads = Array.from({ length: 500 }, async (_, i) => {
      const buf = new Uint8Array(1 + ((i * 37) % 3000));
      const at = (i * 101) % 60_000;
      expect(await onThread.pread(fd, buf, BigInt(at))).toBe(buf.length);
      expect(Buffer.compare(buf, bytes.subarray(at, at + buf.length))).toBe(0);
    });
    Bun.gc(true);
    await Promise.all(reads);
  });

  test("write parts of larger memory", async () => {
    const part = new Uint8Array(300).fill(0xee).subarray(100, 200);
    expect(await onThread.pwrite(fd, part, 1000n)).toBe(100);
    const back = new Uint8Array(102);
    await onThread.pread(fd, back, 999n);
    expect([...back]).toEqual([bytes[999] ?? 0, ...part, bytes[1100] ?? 0]);
    await onThread.pwrite(fd, bytes.subarray(1000, 1100), 1000n);
  });

  test("return the same results as calls on this thread", async () => {
    expect(await onThread.size(fd)).toBe(65536n);
    expect(await onThread.pread(fd, new Uint8Array(0), 0n)).toBe(0);
    expect(await onThread.pread(fd, new Uint8Array(1), 65536n)).toBe(0);
    expect(await onThread.seek(fd, "data", 65536n)).toBeUndefined();
    expect(await onThread.seek(fd, "hole", 0n)).toBe(65536n);
    await onThread.fdatasync(fd);
  });

  test("throw the same errors as calls on this thread", async () => {
    const gone = openSync(path, "r");
    await onThread.close(gone);
    const message = (call: Promise<unknown>) => call.then(String, String);
    expect(await message(onThread.pread(gone, new Uint8Array(5), 7n))).toBe(
      "NbdError: reading 5 bytes at 7: Bad file descriptor",
    );
    expect(await message(onThread.punchHole(gone, 7n, 5))).toBe(
      "NbdError: punching a hole of 5 bytes at 7: Bad file descriptor",
    );
  });
});
