/** The system recorded for trims and zeroes, and which of them are remembered as unsupported. */
import { describe, expect, test } from "bun:test";

import { FLAG_FAST_ZERO, FLAG_MAY_TRIM } from "#api";
import { errnoOf } from "#test/chain";

import { failing, fakeFile, remote } from "./open-file-fixture.ts";
import { trimRange, zeroFast } from "./sparse.ts";
import { writeFully } from "./transfer.ts";

const unsupported = failing("EOPNOTSUPP");

describe("zeroing a regular file", () => {
  test("zeroes the range if the space must stay reserved", async () => {
    const { file, recorded } = fakeFile();
    await zeroFast(file, 512, 1024n, 0);
    expect(recorded).toEqual(["zeroRange 1024 512"]);
  });

  test("makes a hole if the client allows it", async () => {
    const { file, recorded } = fakeFile();
    await zeroFast(file, 512, 1024n, FLAG_MAY_TRIM);
    expect(recorded).toEqual(["punchHole 1024 512"]);
  });

  test("makes a hole and allocates it once zeroing the range is not supported", async () => {
    const { file, recorded } = fakeFile({ zeroRange: unsupported });
    await zeroFast(file, 512, 0n, 0);
    await zeroFast(file, 512, 512n, 0);
    expect(recorded).toEqual([
      "zeroRange 0 512",
      "punchHole 0 512",
      "allocate 0 512",
      "punchHole 512 512",
      "allocate 512 512",
    ]);
  });

  test("leaves zeroes to the chain once no call is supported", async () => {
    const { file, recorded } = fakeFile({ zeroRange: unsupported, punchHole: unsupported });
    expect(await errnoOf(() => zeroFast(file, 512, 0n, FLAG_MAY_TRIM))).toBe("EOPNOTSUPP");
    expect(recorded).toEqual(["punchHole 0 512", "zeroRange 0 512"]);
    expect(await errnoOf(() => zeroFast(file, 512, 0n, FLAG_FAST_ZERO))).toBe("EOPNOTSUPP");
    expect(recorded.length).toBe(2);
  });

  test("leaves zeroes to the chain if space cannot be allocated", async () => {
    const { file } = fakeFile({ zeroRange: unsupported, allocate: unsupported });
    expect(await errnoOf(() => zeroFast(file, 512, 0n, 0))).toBe("EOPNOTSUPP");
    await zeroFast(file, 512, 0n, FLAG_MAY_TRIM);
  });

  test.each(["ENOSPC", "EIO", "EPERM", "EBUSY"] as const)("reports %s", async (errno) => {
    const { file, recorded } = fakeFile({ zeroRange: failing(errno) });
    expect(await errnoOf(() => zeroFast(file, 512, 0n, 0))).toBe(errno);
    expect(recorded).toEqual(["zeroRange 0 512"]);
  });
});

describe("zeroing a block device", () => {
  const device = { sector: 512 };

  test("uses BLKZEROOUT if zeroing the range is not supported", async () => {
    const { file, recorded } = fakeFile({ zeroRange: unsupported }, device);
    await zeroFast(file, 512, 0n, 0);
    expect(recorded).toEqual(["zeroRange 0 512", "zeroDevice 0 512"]);
  });

  test.each([
    [511, 0n],
    [512, 1n],
  ])("leaves parts of sectors to the chain: %p bytes at %p", async (count, offset) => {
    const { file, recorded } = fakeFile({}, device);
    expect(await errnoOf(() => zeroFast(file, count, offset, 0))).toBe("EOPNOTSUPP");
    expect(recorded).toEqual([]);
  });

  test("makes the next call if the device is busy, and the first call again next time", async () => {
    const { file, recorded } = fakeFile({ punchHole: failing("EBUSY") }, device);
    await zeroFast(file, 512, 0n, FLAG_MAY_TRIM);
    await zeroFast(file, 512, 0n, FLAG_MAY_TRIM);
    expect(recorded).toEqual([
      "punchHole 0 512",
      "zeroRange 0 512",
      "punchHole 0 512",
      "zeroRange 0 512",
    ]);
  });

  test("refuses a fast zero that might write zeroes", async () => {
    const { file, recorded } = fakeFile({ punchHole: unsupported }, device);
    const flags = FLAG_MAY_TRIM | FLAG_FAST_ZERO;
    expect(await errnoOf(() => zeroFast(file, 512, 0n, flags))).toBe("EOPNOTSUPP");
    expect(recorded).toEqual(["punchHole 0 512"]);
  });
});

describe("trimming", () => {
  test("makes a hole in a regular file", async () => {
    const { file, recorded } = fakeFile();
    await trimRange(file, 10, 3n);
    expect(recorded).toEqual(["punchHole 3 10"]);
  });

  test("does nothing without support of the file system", async () => {
    const { file, recorded } = fakeFile({ punchHole: unsupported });
    await trimRange(file, 10, 3n);
    await trimRange(file, 10, 3n);
    expect(recorded).toEqual(["punchHole 3 10"]);
  });

  test("waits for an outstanding write of the same range", async () => {
    const first = Promise.withResolvers<number>();
    const { file, recorded } = fakeFile({ pwrite: () => first.promise }, remote);
    const both = [writeFully(file, new Uint8Array(10), 0n), trimRange(file, 10, 5n)];
    await trimRange(file, 10, 20n);
    expect(recorded).toEqual(["pwrite 10 0", "punchHole 20 10"]);
    first.resolve(10);
    await Promise.all(both);
    expect(recorded[2]).toBe("punchHole 5 10");
  });

  test("reports an error of the disk", async () => {
    const { file } = fakeFile({ punchHole: failing("EIO") });
    expect(await errnoOf(() => trimRange(file, 10, 3n))).toBe("EIO");
  });

  test("discards whole sectors of a device if it cannot punch holes", async () => {
    const { file, recorded } = fakeFile({ punchHole: unsupported }, { sector: 512 });
    await trimRange(file, 2000, 100n);
    await trimRange(file, 500, 100n);
    expect(recorded).toEqual(["punchHole 512 1536", "discardDevice 512 1536"]);
  });
});
