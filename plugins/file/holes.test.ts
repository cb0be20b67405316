/** The search for holes, on a file whose holes the test decides. */
import { describe, expect, test } from "bun:test";

import { EXTENT_HOLE, EXTENT_ZERO, Extents, FLAG_REQ_ONE } from "#api";
import { errnoOf } from "#test/chain";

import { addHoles, tellsHoles } from "./holes.ts";
import { failing, fakeFile, remote } from "./open-file-fixture.ts";

/** A file with alternating holes and data of `length` bytes each, which starts with a hole. */
function striped(length: bigint, size: bigint) {
  const seek = (to: "data" | "hole", at: bigint): bigint | undefined => {
    const isData = (at / length) % 2n === 1n;
    const found = isData === (to === "data") ? at : (at / length + 1n) * length;
    if (found < size) return found;
    return to === "hole" && at < size ? size : undefined;
  };
  return fakeFile({ seekNow: seek, sizeNow: () => size });
}

const listed = (extents: Extents) =>
  extents.entries.map(({ offset, length, type }) => [offset, length, type] as const);
const hole = EXTENT_HOLE | EXTENT_ZERO;

describe("holes", () => {
  test("are distinguished from data up to the end of the range or beyond", () => {
    const { file, recorded } = striped(100n, 1000n);
    const extents = new Extents(50n, 1000n);
    addHoles(file, 200, 50n, 0, extents);
    expect(listed(extents)).toEqual([
      [50n, 50n, hole],
      [100n, 100n, 0],
      [200n, 100n, hole],
    ]);
    expect(recorded).toEqual(["seekNow data 50", "seekNow hole 100", "seekNow data 200"]);
  });

  test("are searched for one extent with REQ_ONE", () => {
    const { file, recorded } = striped(100n, 1000n);
    const extents = new Extents(150n, 1000n);
    addHoles(file, 800, 150n, FLAG_REQ_ONE, extents);
    expect(listed(extents)).toEqual([[150n, 50n, 0]]);
    expect(recorded).toEqual(["seekNow data 150", "seekNow hole 150"]);
  });

  test("are searched up to a limit", () => {
    const { file } = striped(1n, 100_000n);
    const extents = new Extents(0n, 100_000n);
    addHoles(file, 100_000, 0n, 0, extents);
    expect(extents.entries.length).toBe(2048);
  });

  test("in a file that keeps changing do not block the server", () => {
    const { file, recorded } = fakeFile({ seekNow: (_to: string, at: bigint) => at });
    addHoles(file, 100, 0n, 0, new Extents(0n, 100n));
    expect(recorded.length).toBe(4096);
  });

  test("end at the end of the file, even if it became shorter", async () => {
    const nowhere = () => undefined;
    for (const [size, expected] of [
      [
        500n,
        [
          [100n, 400n, hole],
          [500n, 500n, 0],
        ],
      ],
      [1000n, [[100n, 900n, hole]]],
      [2000n, [[100n, 900n, hole]]],
      [100n, [[100n, 900n, 0]]],
      [0n, [[100n, 900n, 0]]],
    ] as const) {
      const now = fakeFile({ seekNow: nowhere, sizeNow: () => size });
      const later = fakeFile({ seek: nowhere, size: () => size }, remote);
      for (const { file } of [now, later]) {
        const extents = new Extents(100n, 1000n);
        await addHoles(file, 900, 100n, 0, extents);
        expect(listed(extents)).toEqual(expected.map(([at, length, type]) => [at, length, type]));
      }
    }
  });

  test("fail the request with the file's name if the search fails", async () => {
    const { file } = fakeFile({ seekNow: failing("EIO") });
    const go = () => addHoles(file, 100, 0n, 0, new Extents(0n, 100n));
    expect(await errnoOf(go)).toBe("EIO");
    expect(go).toThrow("fake.img: the test makes it fail");
  });

  test("are searched on another thread if the file system may wait", async () => {
    const { file, recorded } = fakeFile({ seek: (_to: string, at: bigint) => at + 100n }, remote);
    const extents = new Extents(0n, 1000n);
    await addHoles(file, 150, 0n, 0, extents);
    expect(listed(extents)).toEqual([
      [0n, 100n, hole],
      [100n, 100n, 0],
    ]);
    expect(await tellsHoles(file)).toBe(true);
    expect(recorded).toEqual(["seek data 0", "seek hole 100", "seek hole 0"]);
  });

  test("are reported if the file system knows them", () => {
    expect(tellsHoles(fakeFile({ seekNow: () => 0n }).file)).toBe(true);
    expect(tellsHoles(fakeFile({ seekNow: () => undefined }).file)).toBe(true);
    expect(tellsHoles(fakeFile({ seekNow: failing("EINVAL") }).file)).toBe(false);
  });
});
