import { describe, expect, test } from "bun:test";

import { patterned, putMbr, readerOf } from "./disk-fixture.ts";
import { findPartition } from "./find.ts";

const kib = 1024;
const find = (disk: Uint8Array, wanted: number, sectorSize: 512 | 4096 = 512, reads?: bigint[]) =>
  findPartition(readerOf(disk, reads), BigInt(disk.length), sectorSize, wanted);

/** Two primaries, and logical partitions 5 and 6 in partition 3. */
function usual(type = 0x05): Uint8Array {
  const disk = patterned(512 * kib);
  putMbr(disk, [
    { type: 0x83, start: 8, count: 16 },
    { type: 0x0c, start: 24, count: 8 },
    { type, start: 100, count: 400 },
  ]);
  putMbr(
    disk,
    [
      { type: 0x83, start: 10, count: 20 },
      { type: 0x05, start: 200, count: 100 },
    ],
    100,
  );
  return putMbr(disk, [{ type: 0x82, start: 1, count: 50 }], 300);
}

describe("an MBR", () => {
  test.each([
    [1, 8n * 512n, 16n * 512n],
    [2, 24n * 512n, 8n * 512n],
    [5, 110n * 512n, 20n * 512n],
    [6, 301n * 512n, 50n * 512n],
  ])("has partition %d", async (number, offset, range) => {
    for (const type of [0x05, 0x0f, 0x85]) {
      expect(await find(usual(type), number)).toEqual({ kind: "MBR", number, offset, range });
    }
  });

  test("needs one read for a primary partition", async () => {
    const reads: bigint[] = [];
    await find(usual(), 2, 512, reads);
    expect(reads).toEqual([0n]);
  });

  test.each([
    [4, "MBR partition 4 not found; the disk's partitions are: 1-2, 5-6"],
    [7, "MBR partition 7 not found; the disk's partitions are: 1-2, 5-6"],
    [0xffffffff, "MBR partition 4294967295 not found; the disk's partitions are: 1-2, 5-6"],
    [
      3,
      "MBR partition 3 cannot be served: it is the extended partition, which only contains others; the disk's partitions are: 1-2, 5-6",
    ],
  ])("has no partition %d to serve", async (number, message) => {
    await expect(find(usual(), number)).rejects.toThrow(message);
  });

  test("has no partition for an entry without sectors", async () => {
    const disk = putMbr(patterned(64 * kib), [{ type: 0x83, start: 1, count: 0 }]);
    await expect(find(disk, 1)).rejects.toThrow("partitions are: none");
  });

  test("has no number for an EBR without a partition", async () => {
    const disk = usual();
    putMbr(
      disk,
      [
        { type: 0, start: 0, count: 0 },
        { type: 5, start: 200, count: 100 },
      ],
      100,
    );
    expect(await find(disk, 5)).toEqual({
      kind: "MBR",
      number: 5,
      offset: 301n * 512n,
      range: 50n * 512n,
    });
  });

  test("counts in sectors of 4096 bytes if configured", async () => {
    const disk = putMbr(patterned(512 * kib), [
      { type: 0x83, start: 2, count: 4 },
      { type: 0x0f, start: 10, count: 50 },
    ]);
    putMbr(disk, [{ type: 0x83, start: 1, count: 2 }], 10, 4096);
    expect(await find(disk, 1, 4096)).toEqual({
      kind: "MBR",
      number: 1,
      offset: 8192n,
      range: 16384n,
    });
    expect(await find(disk, 5, 4096)).toEqual({
      kind: "MBR",
      number: 5,
      offset: 45056n,
      range: 8192n,
    });
  });

  test("needs its signature, and a disk that is not too small", async () => {
    const disk = usual();
    disk[511] = 0;
    await expect(find(disk, 1)).rejects.toThrow(
      "does not contain MBR or GPT partition table signature",
    );
    await expect(find(usual().slice(0, 1023), 1)).rejects.toThrow(
      "disk is too small to be a partitioned disk: it has 1023 bytes",
    );
  });

  test.each([
    [1008, true],
    [1009, false],
  ])("may have a partition of %d sectors from sector 16 of 1024: %p", async (count, good) => {
    const disk = putMbr(patterned(512 * kib), [{ type: 0x83, start: 16, count }]);
    if (good) expect((await find(disk, 1)).range).toBe(BigInt(count) * 512n);
    else await expect(find(disk, 1)).rejects.toThrow("partition is outside the disk");
  });
});

describe("a hostile EBR chain", () => {
  const chain = (link: { type: number; start: number; count: number }) =>
    putMbr(usual(), [{ type: 0x83, start: 10, count: 20 }, link], 100);

  test("that returns to its start is refused", async () => {
    const disk = chain({ type: 5, start: 0, count: 10 });
    await expect(find(disk, 9)).rejects.toThrow("returns to sector 100");
  });

  test("that returns to its middle is refused", async () => {
    const disk = usual();
    putMbr(
      disk,
      [
        { type: 0x82, start: 1, count: 50 },
        { type: 5, start: 200, count: 9 },
      ],
      300,
    );
    await expect(find(disk, 9)).rejects.toThrow("returns to sector 300");
  });

  test("that leaves the extended partition is refused", async () => {
    const disk = chain({ type: 5, start: 400, count: 10 });
    await expect(find(disk, 6)).rejects.toThrow("outside the extended partition (100-499)");
    await expect(find(chain({ type: 5, start: 0xffffffff, count: 1 }), 6)).rejects.toThrow(
      "outside",
    );
  });

  test("that leaves the disk is refused", async () => {
    const disk = putMbr(patterned(64 * kib), [{ type: 5, start: 100, count: 0xffffffff }]);
    putMbr(
      disk,
      [
        { type: 0, start: 0, count: 0 },
        { type: 5, start: 28, count: 1 },
      ],
      100,
    );
    await expect(find(disk, 5)).rejects.toThrow("sector 128, beyond the end of the disk");
  });

  test("that leads to a sector without signature is refused", async () => {
    const disk = chain({ type: 5, start: 50, count: 10 });
    await expect(find(disk, 6)).rejects.toThrow("the EBR at sector 150 has no signature");
  });

  test("with a partition beyond the extended one is refused", async () => {
    const disk = putMbr(usual(), [{ type: 0x83, start: 10, count: 391 }], 100);
    await expect(find(disk, 5)).rejects.toThrow("reaches beyond the extended partition (100-499)");
    putMbr(disk, [{ type: 0x83, start: 10, count: 390 }], 100);
    await expect(find(disk, 5)).resolves.toMatchObject({ number: 5 });
  });

  test.each([
    [1024, "partition 2000 not found"],
    [1025, "more than 1024 links"],
  ])("of %d links is refused with the reason", async (links, message) => {
    const disk = new Uint8Array(2 * 1024 * kib);
    putMbr(disk, [{ type: 5, start: 1, count: 4000 }]);
    for (let index = 0; index < links; index += 1) {
      const link = { type: index + 1 < links ? 5 : 0, start: index + 1, count: 1 };
      putMbr(disk, [{ type: 0x83, start: 0, count: 1 }, link], 1 + index);
    }
    const reads: bigint[] = [];
    await expect(find(disk, 2000, 512, reads)).rejects.toThrow(message);
    expect(reads.length).toBe(1025);
  });

  test("does not matter for a primary partition", async () => {
    const disk = chain({ type: 5, start: 0, count: 10 });
    expect((await find(disk, 1)).number).toBe(1);
    await expect(find(disk, 4)).rejects.toThrow(
      "partition 4 not found; the disk's partitions are: 1-2, 5",
    );
  });

  test("in several extended partitions is also bounded", async () => {
    const disk = patterned(64 * kib);
    const same = { type: 5, start: 10, count: 10 };
    putMbr(disk, [same, same, same, same]);
    putMbr(disk, [{ type: 0x83, start: 1, count: 1 }], 10);
    expect((await find(disk, 5)).offset).toBe(11n * 512n);
    await expect(find(disk, 6)).rejects.toThrow("returns to sector 10");
  });
});
