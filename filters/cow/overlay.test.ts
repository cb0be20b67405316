import { describe, expect, test } from "bun:test";
import { fdatasyncSync, mkdtempSync, openSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdError, storage } from "#api";

import { Overlay } from "./overlay.ts";
import { openIn, useTmpdir } from "./temp-fixture.ts";

function temp() {
  const folder = mkdtempSync(join(tmpdir(), "overlay-test-"));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
}

describe("an overlay", () => {
  test("has no name, and disappears when it is disposed of", () => {
    using it = temp();
    const overlay = Overlay.create(it.folder);
    expect([readdirSync(it.folder), openIn(it.folder).length]).toEqual([[], 1]);
    overlay[Symbol.dispose]();
    expect(openIn(it.folder)).toEqual([]);
  });

  test("is in $TMPDIR", () => {
    using it = temp();
    using _ = useTmpdir(it.folder);
    using overlay = Overlay.create();
    overlay.write(Uint8Array.of(1), 0);
    expect(openIn(it.folder).length).toBe(1);
  });

  test("reports the folder in which it cannot be created", () => {
    expect(() => Overlay.create("/nonexistent/folder")).toThrow(
      /^cow: cannot create the temporary file \/nonexistent\/folder\/nbdkit-cow-[0-9a-f-]+: No such file or directory$/,
    );
  });

  test("returns written data, and zeroes for the rest", async () => {
    using it = temp();
    using overlay = Overlay.create(it.folder);
    const far = 2 ** 40 + 123;
    overlay.write(Uint8Array.of(1, 2, 3), far);
    const buf = new Uint8Array(7).fill(9);
    await overlay.read(buf, far - 2);
    expect([...buf]).toEqual([0, 0, 1, 2, 3, 0, 0]);
  });

  test("returns data that has left the page cache", async () => {
    using it = temp();
    const fd = openSync(join(it.folder, "overlay"), "w+");
    using overlay = new Overlay(fd);
    const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => i % 251);
    overlay.write(bytes, 0);
    fdatasyncSync(fd);
    storage.advise(fd, 0n, 0, "dontneed");
    const buf = new Uint8Array(10_001);
    await overlay.read(buf, 0);
    expect(buf).toEqual(Uint8Array.of(...bytes, 0));
  });

  test("reports ENOSPC on a full disk", () => {
    using overlay = new Overlay(openSync("/dev/full", "r+"));
    const write = () => overlay.write(new Uint8Array(512), 4096);
    expect(write).toThrow("writing 512 bytes of the overlay at 4096: No space left on device");
    expect(write).toThrow(NbdError);
  });

  test("refuses a position that a number cannot hold exactly", async () => {
    using it = temp();
    using overlay = Overlay.create(it.folder);
    const write = () => overlay.write(new Uint8Array(1), Number.MAX_SAFE_INTEGER);
    expect(write).toThrow("at 9007199254740991: too far");
    const buf = new Uint8Array(1).fill(9);
    await overlay.read(buf, 0);
    expect(buf[0]).toBe(0);
  });
});
