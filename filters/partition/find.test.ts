/** Scans of arbitrary bytes. A failure prints fast-check's seed. */
import { describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import { NbdError } from "#api";

import { patchHeader, patterned, putGpt, putMbr, readerOf } from "./disk-fixture.ts";
import { findPartition, type SectorSize } from "./find.ts";

const size = 256 * 1024;
const sectorSizes = fc.constantFrom<SectorSize>(512, 4096, "auto");
const uint32 = fc.oneof(fc.nat(600), fc.constantFrom(0x7fffffff, 0x80000000, 0xffffffff));
const uint64 = fc.oneof(fc.bigInt(0n, 600n), fc.bigInt(0n, 2n ** 64n - 1n));

/** Expect a partition inside the disk or a clear error, and a limited number of reads, all inside the disk. */
async function survives(disk: Uint8Array, sectorSize: SectorSize, wanted: number): Promise<void> {
  const reads: bigint[] = [];
  try {
    const found = await findPartition(
      readerOf(disk, reads),
      BigInt(disk.length),
      sectorSize,
      wanted,
    );
    expect(found.number).toBe(wanted);
    expect(found.offset >= 0n && found.range > 0n).toBe(true);
    expect(found.offset + found.range <= BigInt(disk.length)).toBe(true);
  } catch (error) {
    if (!(error instanceof NbdError)) throw error;
    expect(error.errno).toBe("EINVAL");
    expect(error.message.length).toBeLessThan(600);
  }
  expect(reads.length).toBeLessThan(1100);
}

describe("the scan", () => {
  test("survives noise", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1024, maxLength: 5000 }),
        sectorSizes,
        fc.integer({ min: 1, max: 200 }),
        async (bytes, sectorSize, wanted) => {
          bytes[510] = 0x55;
          bytes[511] = 0xaa;
          await survives(bytes, sectorSize, wanted);
        },
      ),
    );
  });

  test("survives any MBR and EBRs", async () => {
    const entry = fc.record({
      type: fc.constantFrom(0, 0x83, 0x05, 0x0f, 0x85),
      start: uint32,
      count: uint32,
    });
    const table = fc.array(entry, { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        table,
        fc.array(fc.tuple(fc.nat(60), table), { maxLength: 20 }),
        sectorSizes,
        fc.integer({ min: 1, max: 20 }),
        async (mbr, ebrs, sectorSize, wanted) => {
          const disk = new Uint8Array(size);
          for (const [at, entries] of ebrs) {
            putMbr(disk, entries, at, sectorSize === 4096 ? 4096 : 512);
          }
          await survives(putMbr(disk, mbr), sectorSize, wanted);
        },
      ),
    );
  });

  test("survives any GPT header with a correct checksum", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          headerSize: uint32,
          own: uint64,
          entries: uint64,
          count: uint32,
          entry: uint32,
        }),
        fc.tuple(uint64, uint64),
        fc.boolean(),
        async (fields, [first, last], both) => {
          const disk = putGpt(patterned(size), [{ number: 1, first, last }]);
          for (const at of both ? [512, size - 512] : [512]) {
            patchHeader(disk, at, (view) => {
              view.setUint32(12, fields.headerSize, true);
              view.setBigUint64(24, fields.own, true);
              view.setBigUint64(72, fields.entries, true);
              view.setUint32(80, fields.count, true);
              view.setUint32(84, fields.entry, true);
            });
          }
          await survives(disk, 512, 1);
        },
      ),
    );
  });

  test("finds the same partition after a change of any byte of the GPT", async () => {
    const good = putGpt(patterned(size), [{ number: 1, first: 50n, last: 99n }]);
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 512, max: 34 * 512 - 1 }),
        fc.nat(255),
        async (at, byte) => {
          const disk = good.slice();
          disk[at] = byte;
          const found = await findPartition(readerOf(disk), BigInt(size), 512, 1);
          expect(found).toEqual({ kind: "GPT", number: 1, offset: 25600n, range: 25600n });
        },
      ),
    );
  });

  test("finds each of several adjacent partitions", async () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(lengths, fc.boolean(), async (sectors, isGpt) => {
        const disk = new Uint8Array(size);
        let at = 40;
        const starts = sectors.slice(0, isGpt ? 8 : 4).map((count) => {
          const start = at;
          at += count;
          return { start, count };
        });
        if (isGpt) {
          putGpt(
            disk,
            starts.map(({ start, count }, index) => ({
              number: index + 1,
              first: BigInt(start),
              last: BigInt(start + count - 1),
            })),
          );
        } else {
          putMbr(
            disk,
            starts.map((it) => ({ type: 0x83, ...it })),
          );
        }
        for (const [index, { start, count }] of starts.entries()) {
          expect(await findPartition(readerOf(disk), BigInt(size), "auto", index + 1)).toEqual({
            kind: isGpt ? "GPT" : "MBR",
            number: index + 1,
            offset: BigInt(start * 512),
            range: BigInt(count * 512),
          });
        }
      }),
    );
  });
});
