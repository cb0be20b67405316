import { describe, expect, test } from "bun:test";

import {
  type GptOptions,
  patchHeader,
  patterned,
  putGpt,
  putMbr,
  readerOf,
} from "./disk-fixture.ts";
import { findPartition, type SectorSize } from "./find.ts";

const size = 1024 * 1024;
const lastSector = size - 512;
const find = (disk: Uint8Array, wanted: number, sectorSize: SectorSize = 512) =>
  findPartition(readerOf(disk), BigInt(disk.length), sectorSize, wanted);
const partitions = [
  { number: 1, first: 40n, last: 47n },
  { number: 2, first: 100n, last: 199n },
  { number: 128, first: 50n, last: 50n },
];
const usual = (options?: GptOptions) => putGpt(patterned(size), partitions, options);

describe("a GPT", () => {
  test.each([
    [1, 40n * 512n, 8n * 512n],
    [2, 100n * 512n, 100n * 512n],
    [128, 50n * 512n, 512n],
  ])("has partition %d", async (number, offset, range) => {
    expect(await find(usual(), number)).toEqual({ kind: "GPT", number, offset, range });
  });

  test.each([3, 129, 0xffffffff])("has no partition %d", async (number) => {
    await expect(find(usual(), number)).rejects.toThrow(
      `GPT partition ${number} not found; the disk's partitions are: 1-2, 128`,
    );
  });

  test.each([
    [128, true],
    [136, true],
    [256, true],
    [127, false],
    [0, false],
  ])("may have entries of %d bytes: %p", async (entrySize, good) => {
    const disk = usual({ entrySize: Math.max(128, entrySize), entryCount: 128 });
    for (const at of [512, lastSector]) {
      patchHeader(disk, at, (view) => view.setUint32(84, entrySize, true));
    }
    if (good) expect((await find(disk, 2)).offset).toBe(51200n);
    else await expect(find(disk, 2)).rejects.toThrow(`128 entries of ${entrySize} bytes`);
  });

  test.each([
    ["512", 512, 512, true],
    ["4096", 4096, 4096, true],
    ["4096 as auto", 4096, "auto", true],
    ["512 as auto", 512, "auto", true],
    ["4096 as 512", 4096, 512, false],
    ["512 as 4096", 512, 4096, false],
  ] as const)("with sectors of %s is found or refused", async (_name, sectorSize, given, good) => {
    const disk = usual({ sectorSize });
    if (good) expect((await find(disk, 2, given)).offset).toBe(BigInt(100 * sectorSize));
    else await expect(find(disk, 2, given)).rejects.toThrow("GPT is damaged");
  });

  test("with sectors of 4096 is found by auto even from its backup alone", async () => {
    const disk = usual({ sectorSize: 4096 });
    disk.fill(0, 512, 8192);
    expect((await find(disk, 1, "auto")).offset).toBe(163840n);
  });

  test("needs a protective MBR", async () => {
    const disk = putMbr(usual(), [{ type: 0x83, start: 1, count: 5 }]);
    await expect(find(disk, 2)).rejects.toThrow(
      "MBR partition 2 not found; the disk's partitions are: 1",
    );
  });

  test("may have its protective entry at any place in the MBR", async () => {
    const disk = putMbr(usual(), [
      { type: 0x83, start: 40, count: 8 },
      { type: 0xee, start: 1, count: 5 },
    ]);
    expect((await find(disk, 2)).range).toBe(51200n);
  });

  test.each([
    [40n, 2047n, true],
    [40n, 2048n, false],
    [2047n, 2047n, true],
    [2048n, 2048n, false],
    [50n, 49n, false],
    [0xffffffffffffffffn, 0xffffffffffffffffn, false],
    [0n, 0xffffffffffffffffn, false],
  ])("may have a partition from sector %p to %p of 2048: %p", async (first, last, good) => {
    const disk = putGpt(patterned(size), [{ number: 1, first, last }]);
    if (good) expect((await find(disk, 1)).range).toBe((last - first + 1n) * 512n);
    else await expect(find(disk, 1)).rejects.toThrow("partition is outside the disk");
  });
});

describe("a damaged GPT", () => {
  const damages: readonly (readonly [string, (disk: Uint8Array, at: number) => void, string])[] = [
    ["signature", (disk, at) => disk.fill(0, at, at + 8), "has no header"],
    ["a header bit", (disk, at) => (disk[at + 40] = 1), "CRC of the header is 0x"],
    [
      "header size 91",
      (disk, at) => patchHeader(disk, at, (view) => view.setUint32(12, 91, true)),
      "header size 91 is not 92 to 512",
    ],
    [
      "header size 513",
      (disk, at) => patchHeader(disk, at, (view) => view.setUint32(12, 513, true)),
      "header size 513 is not 92 to 512",
    ],
    [
      "header size 2^32-1",
      (disk, at) => patchHeader(disk, at, (view) => view.setUint32(12, 0xffffffff, true)),
      "header size 4294967295",
    ],
    [
      "own address",
      (disk, at) => patchHeader(disk, at, (view) => view.setBigUint64(24, 7n, true)),
      "says it is at 7",
    ],
    [
      "no entries",
      (disk, at) => patchHeader(disk, at, (view) => view.setUint32(80, 0, true)),
      "0 entries of 128 bytes",
    ],
    [
      "2^32-1 entries",
      (disk, at) => patchHeader(disk, at, (view) => view.setUint32(80, 0xffffffff, true)),
      "4294967295 entries of 128 bytes",
    ],
    [
      "entries of 2^32-1 bytes",
      (disk, at) => patchHeader(disk, at, (view) => view.setUint32(84, 0xffffffff, true)),
      "128 entries of 4294967295 bytes",
    ],
    [
      "entries at sector 0",
      (disk, at) => patchHeader(disk, at, (view) => view.setBigUint64(72, 0n, true)),
      "entries at sector 0 lie outside",
    ],
    [
      "entries at the end",
      (disk, at) => patchHeader(disk, at, (view) => view.setBigUint64(72, 2017n, true)),
      "entries at sector 2017 lie outside",
    ],
    [
      "entries beyond 2^64",
      (disk, at) => patchHeader(disk, at, (view) => view.setBigUint64(72, 2n ** 64n - 1n, true)),
      "lie outside the disk",
    ],
    [
      "an entry",
      (disk, at) => (disk[(at === 512 ? 2 : 2047 - 32) * 512 + 60] = 1),
      "CRC of the entries is 0x",
    ],
  ];

  test.each(damages)("is replaced by its backup: %s", async (_name, damage) => {
    const disk = usual();
    damage(disk, 512);
    expect(await find(disk, 2)).toEqual({ kind: "GPT", number: 2, offset: 51200n, range: 51200n });
  });

  test.each(damages)("is refused with a damaged backup: %s", async (_name, damage, message) => {
    const disk = usual();
    damage(disk, 512);
    damage(disk, lastSector);
    await expect(find(disk, 2)).rejects.toThrow(message);
  });

  test.each(damages)("does not matter in the backup: %s", async (_name, damage) => {
    const disk = usual();
    damage(disk, lastSector);
    expect((await find(disk, 2)).offset).toBe(51200n);
  });

  test("includes one with more than 131072 entries", async () => {
    const entryCount = 131072;
    const disk = new Uint8Array(40 * size);
    putGpt(disk, [{ number: entryCount, first: 5n, last: 9n }], { entryCount });
    expect((await find(disk, entryCount)).range).toBe(2560n);
    putGpt(disk, [], { entryCount: entryCount + 1 });
    await expect(find(disk, 1)).rejects.toThrow("131073 entries of 128 bytes");
  });

  test("includes one on a disk too small for two headers", async () => {
    const disk = putMbr(new Uint8Array(1024), [{ type: 0xee, start: 1, count: 1 }]);
    await expect(find(disk, 1)).rejects.toThrow("too small for a GPT");
    await expect(find(disk, 1, 4096)).rejects.toThrow("too small for a GPT");
    await expect(find(disk, 1, "auto")).rejects.toThrow("too small for a GPT");
  });
});
