/** Parts of files in pipes: the pipe holds all of the bytes, and only data in memory goes through it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { kernelHasCachestat } from "#test/kernel";

import { pattern } from "../../test/protocol/server-fixture.ts";
import { FilePipe, isInMemory, isNonBlocking } from "./file-pipe.ts";
import { pread } from "./libc.ts";

const KiB = 1 << 10;
const MiB = 1 << 20;
const header = new TextEncoder().encode("the header");
const contents = pattern(2 * MiB + 77);

let folder: string;
let fd: number;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-test-"));
  writeFileSync(join(folder, "disk"), contents);
  fd = openSync(join(folder, "disk"), "r+");
});
afterAll(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

function opened(): FilePipe {
  const pipe = FilePipe.open();
  if (pipe === undefined) throw new Error("no pipe");
  return pipe;
}

/** Read all bytes from the pipe. */
function emptied(pipe: FilePipe): Uint8Array {
  const all = new Uint8Array(pipe.held);
  for (let at = 0; at < all.length;) {
    const part = new Uint8Array(Math.min(50_000, all.length - at));
    const count = pipe.take(part);
    all.set(part.subarray(0, count), at);
    at += count;
  }
  expect(pipe.held).toBe(0);
  return all;
}

describe.skipIf(!kernelHasCachestat)("a pipe", () => {
  test.each([
    [0, 4096],
    [0, 1],
    [1, 4095],
    [4095, 2],
    [5000, 262_144],
    [4096, MiB - 8192],
    [2 * MiB + 70, 7],
  ])("holds the header and the file's bytes at %d, %d of them", (offset, count) => {
    using pipe = opened();
    // Twice, since the server reuses pipes.
    for (let i = 0; i < 2; i++) {
      expect(pipe.fill(header, fd, BigInt(offset), count)).toBe(true);
      const expected = Buffer.concat([header, contents.subarray(offset, offset + count)]);
      expect(Buffer.compare(emptied(pipe), expected)).toBe(0);
    }
  });

  test("has the room that it reports at every alignment", () => {
    using pipe = opened();
    expect(pipe.room).toBeGreaterThan(256 * KiB - 8192);
    for (const offset of [0, 1, 4095, 4096]) {
      expect(pipe.fill(header, fd, BigInt(offset), pipe.room)).toBe(true);
      expect(emptied(pipe)).toHaveLength(header.length + pipe.room);
    }
  });

  test.each([
    ["more than fits", 0, 2 * MiB],
    ["a range that reaches beyond the end", 2 * MiB, 78],
    ["a range behind the end", 4 * MiB, 10],
  ])("refuses %s", (_what, offset, count) => {
    using pipe = opened();
    expect(pipe.fill(header, fd, BigInt(offset), count)).toBe(false);
  });

  test("takes nothing from a bad descriptor", () => {
    using pipe = opened();
    expect(pipe.fill(header, -1, 0n, 10)).toBe(false);
    expect(pipe.held).toBe(header.length);
  });

  test("gives nothing to a bad descriptor", () => {
    using pipe = opened();
    expect(pipe.fill(header, fd, 0n, 10)).toBe(true);
    expect(pipe.give(-1)).toBe(-1);
    expect(pipe.held).toBe(header.length + 10);
  });
});

describe.skipIf(!kernelHasCachestat)("isInMemory", () => {
  test("accepts data that was just written, up to the end of the file", () => {
    expect(isInMemory(fd, 0n, contents.length)).toBe(true);
    expect(isInMemory(fd, 4095n, 2)).toBe(true);
    expect(isInMemory(fd, BigInt(2 * MiB), 78)).toBe(false);
    expect(isInMemory(fd, BigInt(4 * MiB), 10)).toBe(false);
  });

  test("accepts a hole only after a read of it", () => {
    const path = join(folder, "holes");
    writeFileSync(path, "");
    truncateSync(path, MiB);
    const sparse = openSync(path, "r+");
    try {
      expect(isInMemory(sparse, 65536n, 65536)).toBe(false);
      expect(pread(sparse, new Uint8Array(65536), 65536n)).toBe(65536);
      expect(isInMemory(sparse, 65536n, 65536)).toBe(true);
    } finally {
      closeSync(sparse);
    }
  });

  test("refuses bad descriptors and devices", () => {
    expect(isInMemory(-1, 0n, 10)).toBe(false);
    const zero = openSync("/dev/zero", "r");
    expect(isInMemory(zero, 0n, 10)).toBe(false);
    closeSync(zero);
  });
});

test("isNonBlocking is false for a file and for a closed descriptor", () => {
  expect(isNonBlocking(fd)).toBe(false);
  expect(isNonBlocking(-1)).toBe(false);
});
