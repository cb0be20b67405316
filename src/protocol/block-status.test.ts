/** Conversion of extents to blocks, with the limits of 32 bits on both sides. */
import { describe, expect, test } from "bun:test";

import { Extents } from "../lib/extents.ts";
import { describeBlocks } from "./block-status.ts";

const GiB = 1n << 30n;
const most = 0xffffffff;
const longest = 0xffff0000;

function blocks(
  parts: readonly (readonly [bigint, number])[],
  count: number,
  one = false,
  offset = 0n,
) {
  const extents = new Extents(offset, 1n << 62n);
  let at = offset;
  for (const [length, type] of parts) {
    extents.add(at, length, type);
    at += length;
  }
  const words = [...describeBlocks(extents, offset, count, one)];
  return words.flatMap((length, i) => (i % 2 === 0 ? [[length, words[i + 1]]] : []));
}

describe("blocks", () => {
  test("begin within the requested range; the last one may end later", () => {
    const parts = [
      [100n, 0],
      [100n, 3],
      [100n, 0],
    ] as const;
    expect(blocks(parts, 100)).toEqual([[100, 0]]);
    expect(blocks(parts, 101)).toEqual([
      [100, 0],
      [100, 3],
    ]);
    expect(blocks(parts, 200, false, 7n)).toHaveLength(2);
    expect(blocks(parts, 201, false, 7n)).toHaveLength(3);
  });

  test("are one block within the requested range with REQ_ONE", () => {
    expect(blocks([[100n, 3]], 50, true)).toEqual([[50, 3]]);
    expect(blocks([[100n, 3]], 150, true)).toEqual([[100, 3]]);
    expect(blocks([[8n * GiB, 2]], most, true)).toEqual([[most, 2]]);
    expect(blocks([[8n * GiB, 2]], 1, true)).toEqual([[1, 2]]);
    expect(blocks([[BigInt(longest) + 1n, 2]], most, true)).toEqual([[longest + 1, 2]]);
  });

  test("have only the bits of base:allocation, and equal neighbours are merged", () => {
    expect(
      blocks(
        [
          [10n, 4],
          [10n, 8],
          [10n, 7],
        ],
        30,
      ),
    ).toEqual([
      [20, 0],
      [10, 3],
    ]);
  });

  test("longer than 4 GiB minus 64 KiB are cut at a round length, and end the list", () => {
    const parts = (length: bigint) =>
      [
        [length, 0],
        [512n, 3],
      ] as const;
    expect(blocks(parts(BigInt(longest)), most)).toEqual([
      [longest, 0],
      [512, 3],
    ]);
    for (const length of [BigInt(longest) + 1n, BigInt(most), 4n * GiB + 1n, 1n << 61n]) {
      expect(blocks(parts(length), most)).toEqual([[longest, 0]]);
      expect(blocks(parts(length), 1)).toEqual([[longest, 0]]);
    }
  });

  test("are not merged if they would be too long", () => {
    expect(
      blocks(
        [
          [3n * GiB, 4],
          [3n * GiB, 0],
        ],
        most,
      ),
    ).toEqual([
      [3 * 2 ** 30, 0],
      [3 * 2 ** 30, 0],
    ]);
    expect(
      blocks(
        [
          [1n, 4],
          [BigInt(longest), 0],
        ],
        most,
      ),
    ).toEqual([
      [1, 0],
      [longest, 0],
    ]);
  });

  test("are none if no extent covers the first byte", () => {
    expect(blocks([], 10)).toEqual([]);
    expect(blocks([], 10, true)).toEqual([]);
  });
});
