/** Tests of the list of extents: merged, cut, dropped and refused extents. */
import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";

import { extentTypes } from "../api/generated/constants.gen.ts";
import { EXTENT_HOLE, EXTENT_ZERO, Extents } from "./extents.ts";

const hole = EXTENT_HOLE | EXTENT_ZERO;

/** A list from 100 to 200 with these extents. */
function added(...parts: readonly (readonly [bigint, bigint, number])[]): Extents {
  const extents = new Extents(100n, 200n);
  for (const part of parts) extents.add(...part);
  return extents;
}

/** [offset, length, type] of each entry. */
const listed = (extents: Extents) =>
  extents.entries.map(({ offset, length, type }) => [offset, length, type] as const);

/** The memory of JavaScript in this process. */
function heldBytes(): number {
  const { heapSize, extraMemorySize } = heapStats();
  return heapSize + extraMemorySize;
}

describe("Extents", () => {
  test("keeps added extents in order", () => {
    const extents = added([100n, 10n, 0], [110n, 20n, hole], [130n, 5n, EXTENT_ZERO]);
    expect(listed(extents)).toEqual([
      [100n, 10n, 0],
      [110n, 20n, hole],
      [130n, 5n, EXTENT_ZERO],
    ]);
    expect(extents.covered).toBe(135n);
  });

  test("merges adjacent extents of the same type", () => {
    expect(listed(added([100n, 10n, hole], [110n, 20n, hole], [130n, 1n, 0]))).toEqual([
      [100n, 30n, hole],
      [130n, 1n, 0],
    ]);
  });

  test("cuts extents at its range", () => {
    expect(listed(added([50n, 60n, 0], [110n, 1000n, hole]))).toEqual([
      [100n, 10n, 0],
      [110n, 90n, hole],
    ]);
  });

  test("drops extents outside its range, and empty ones", () => {
    const extents = added([0n, 40n, hole], [40n, 60n, 0], [100n, 0n, hole], [100n, 100n, 0]);
    extents.add(200n, 50n, hole);
    extents.add(7n, 0n, hole);
    expect(listed(extents)).toEqual([[100n, 100n, 0]]);
  });

  test("does not merge with dropped extents", () => {
    expect(listed(added([0n, 100n, hole], [100n, 1n, hole]))).toEqual([[100n, 1n, hole]]);
  });

  test.each([
    {
      what: "a gap",
      parts: [
        [100n, 10n, 0],
        [120n, 1n, 0],
      ],
      message: /expected 110/,
    },
    {
      what: "an overlap",
      parts: [
        [100n, 10n, 0],
        [105n, 10n, 0],
      ],
      message: /expected 110/,
    },
    {
      what: "a gap before the range",
      parts: [
        [0n, 10n, 0],
        [20n, 100n, 0],
      ],
      message: /expected 10/,
    },
    {
      what: "a first extent after the start",
      parts: [[101n, 10n, 0]],
      message: /starts at 101, after 100/,
    },
    { what: "a negative length", parts: [[100n, -1n, 0]], message: /-1 bytes at 100/ },
  ] as const)("refuses $what", ({ parts, message }) => {
    expect(() => added(...parts)).toThrow(
      expect.objectContaining({ code: "ERANGE", message: expect.stringMatching(message) }),
    );
  });

  test.each([
    [-1n, 5n],
    [6n, 5n],
    [0n, 1n << 63n],
  ])("refuses a range from %p to %p", (start, end) => {
    expect(() => new Extents(start, end)).toThrow(expect.objectContaining({ code: "ERANGE" }));
  });

  test("may reach to the end of the largest disk", () => {
    const end = (1n << 63n) - 1n;
    const extents = new Extents(end - 1n, end);
    extents.add(0n, (1n << 64n) - 1n, hole);
    expect(listed(extents)).toEqual([[end - 1n, 1n, hole]]);
  });

  test("holds 1048576 entries and drops the rest", () => {
    const extents = new Extents(0n, largeEnd);
    for (let at = 0n; at < largeEnd; at++) extents.add(at, 1n, Number(at & 1n));
    expect(extents.entries.length).toBe(1_048_576);
    expect(extents.count).toBe(1_048_576);
    expect(extents.covered).toBe(1_048_576n);
  });

  test("uses little memory for many entries", () => {
    Bun.gc(true);
    const before = heldBytes();
    const extents = new Extents(0n, largeEnd);
    for (let at = 0n; at < largeEnd; at++) extents.add(at, 1n, Number(at & 1n));
    Bun.gc(true);
    expect(heldBytes() - before).toBeLessThan(32 << 20);
    expect(extents.covered).toBe(1_048_576n);
  });

  test("can be iterated while it grows", () => {
    const extents = new Extents(0n, 1000n);
    const seen: unknown[] = [];
    for (let at = 0n; at < 20n; at++) extents.add(at, 1n, Number(at & 1n));
    for (const extent of extents) {
      seen.push(extent);
      if (seen.length === 1) extents.add(20n, 1n, 0);
    }
    expect(seen).toEqual(
      Array.from({ length: 21 }, (_, at) => ({ offset: BigInt(at), length: 1n, type: at & 1 })),
    );
    expect(extents.entries).toEqual(seen as typeof extents.entries);
  });

  test("stores types of 32 bits, as in C", () => {
    const extents = added([100n, 10n, -1], [110n, 10n, 0xffffffff], [120n, 10n, 2 ** 32 + 1]);
    expect(listed(extents)).toEqual([
      [100n, 20n, 0xffffffff],
      [120n, 10n, 1],
    ]);
  });
});

const largeEnd = 1_048_600n;

test("extent types have the same numbers as in C", () => {
  expect({ hole: EXTENT_HOLE, zero: EXTENT_ZERO }).toEqual(extentTypes);
});
