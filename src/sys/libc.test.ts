/** Calls of libc: loaded at the first use, and their error numbers. */
import { expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";

import { errnos } from "../lib/errno.ts";
import * as libc from "./libc.ts";

test("the first call loads libc, not the import", () => {
  const script = `
    import * as libc from "./libc.ts";
    import { storage } from "#api";
    const before = libc.isLoaded();
    try { storage.deviceSize(-1); } catch {}
    console.log(before, libc.isLoaded());`;
  const run = Bun.spawnSync([process.execPath, "-e", script], { cwd: import.meta.dir });
  expect(run.stdout.toString()).toBe("false true\n");
});

test("a failed call returns the negated error number", () => {
  const buf = new Uint8Array(2000);
  expect([
    libc.preadNow(-1, buf, 0n),
    libc.pread(-1, buf, 0n),
    libc.pwrite(-1, buf, 0n),
    libc.fallocate(-1, "punchHole", 0n, 1n),
    Number(libc.seek(-1, "data", 0n)),
    libc.fadvise(-1, 0n, 0n, "normal"),
    Number(libc.deviceSize(-1)),
    libc.deviceNumber(-1, "sectorSize"),
    libc.deviceRange(-1, "discard", 0n, 512n),
  ]).toEqual(Array(9).fill(-errnos.EBADF));
  expect(libc.isLoaded()).toBe(true);
});

test("different errors return different numbers", () => {
  const fd = openSync(import.meta.path, "r");
  expect([
    libc.pread(fd, new Uint8Array(1), -1n),
    libc.fallocate(fd, "allocate", 0n, 1n),
    Number(libc.deviceSize(fd)),
    Number(libc.seek(fd, "data", 1n << 40n)),
  ]).toEqual([-errnos.EINVAL, -errnos.EBADF, -errnos.ENOTTY, -errnos.ENXIO]);
  closeSync(fd);
});

test.each([1, 1000, 1023, 1024, 1025, 3000])("reads %p bytes that are in memory", (length) => {
  const fd = openSync(import.meta.path, "r");
  const expected = new Uint8Array(length);
  const count = libc.pread(fd, expected, 3n);
  for (const buf of [new Uint8Array(length), new Uint8Array(length + 7).subarray(7)]) {
    expect(libc.preadNow(fd, buf, 3n)).toBe(count);
    expect(buf).toEqual(expected);
  }
  closeSync(fd);
});
