/** Parts of files in pipes: only those that can be had at once, and all of their bytes. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { kernelTellsWhatIsInMemory } from "#test/kernel";

import { pattern } from "../test/protocol/server-fixture.ts";
import { FilePipe, isNonBlocking } from "./file-pipe.ts";
import { pread } from "./libc.ts";

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

/** What is in the pipe. */
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

describe.skipIf(!kernelTellsWhatIsInMemory)("a pipe", () => {
  test.each([
    [0, 4096],
    [0, 1],
    [1, 4095],
    [4095, 2],
    [5000, 262_144],
    [4096, MiB - 8192],
    [2 * MiB + 70, 7],
  ])("holds the header and what the file has at %d, %d bytes", (offset, count) => {
    using pipe = opened();
    // Twice, since pipes are used again.
    for (let i = 0; i < 2; i++) {
      expect(pipe.fill(header, fd, BigInt(offset), count)).toBe(true);
      const expected = Buffer.concat([header, contents.subarray(offset, offset + count)]);
      expect(Buffer.compare(emptied(pipe), expected)).toBe(0);
    }
  });

  test.each([
    ["more than fits", 0, 2 * MiB],
    ["what reaches beyond the end", 2 * MiB, 78],
    ["what lies behind the end", 4 * MiB, 10],
  ])("does not take %s, and stays empty", (_what, offset, count) => {
    using pipe = opened();
    expect(pipe.fill(header, fd, BigInt(offset), count)).toBe(false);
    expect(pipe.held).toBe(0);
  });

  test("does not take what is not in memory", () => {
    const path = join(folder, "holes");
    writeFileSync(path, "");
    const sparse = openSync(path, "r+");
    try {
      // Nobody has read the hole yet.
      Bun.spawnSync(["truncate", "-s", "1M", path]);
      using pipe = opened();
      expect(pipe.fill(header, sparse, 65536n, 65536)).toBe(false);
      expect(pipe.held).toBe(0);
      expect(pread(sparse, new Uint8Array(65536), 65536n)).toBe(65536);
      expect(pipe.fill(header, sparse, 65536n, 65536)).toBe(true);
      expect(emptied(pipe).subarray(header.length)).toEqual(new Uint8Array(65536));
    } finally {
      closeSync(sparse);
    }
  });

  test("takes nothing from what is no file", () => {
    using pipe = opened();
    expect(pipe.fill(header, -1, 0n, 10)).toBe(false);
    const zero = openSync("/dev/zero", "r");
    expect(pipe.fill(header, zero, 0n, 10)).toBe(false);
    closeSync(zero);
    expect(pipe.held).toBe(0);
  });

  test("gives nothing to what is no socket", () => {
    using pipe = opened();
    expect(pipe.fill(header, fd, 0n, 10)).toBe(true);
    expect(pipe.give(-1)).toBe(-1);
    expect(pipe.held).toBe(header.length + 10);
  });
});

test("tells whether somebody may wait for a descriptor", () => {
  expect(isNonBlocking(fd)).toBe(false);
  expect(isNonBlocking(-1)).toBe(false);
});
