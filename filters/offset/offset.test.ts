/** Tests of the offset filter. */
import { describe, expect, test } from "bun:test";

import { FLAG_FUA, FLAG_MAY_TRIM, FLAG_REQ_ONE, NbdError } from "#api";
import { above, clientOf, configured, errnoOf, mapOf } from "#test/chain";

import offset from "./offset.ts";

const largest = 2n ** 63n - 1n;
const disk = () => Uint8Array.from({ length: 4096 }, (_, i) => i % 251);

describe("the offset filter", () => {
  test.each([
    { texts: {}, size: 4096n },
    { texts: { offset: "0" }, size: 4096n },
    { texts: { offset: "1k" }, size: 3072n },
    { texts: { offset: "4095" }, size: 1n },
    { texts: { offset: "4096" }, size: 0n },
    { texts: { range: "512" }, size: 512n },
    { texts: { range: "4096" }, size: 4096n },
    { texts: { range: "0" }, size: 0n },
    { texts: { offset: "1k", range: "512" }, size: 512n },
    { texts: { offset: "1s", range: "7S" }, size: 3584n },
    { texts: { offset: "4096", range: "0" }, size: 0n },
  ])("has the size $size with $texts", async ({ texts, size }) => {
    await using stack = await above(disk(), offset, texts);
    expect(await stack.next.getSize()).toBe(size);
  });

  test.each([
    { texts: { offset: "4097" }, message: "offset (4097) is larger than the real size (4096)" },
    {
      texts: { offset: `${largest}` },
      message: `offset (${largest}) is larger than the real size (4096)`,
    },
    {
      texts: { range: "4097" },
      message: "offset+size (0+4097) is larger than the real size (4096)",
    },
    {
      texts: { offset: "1", range: "4k" },
      message: "offset+size (1+4096) is larger than the real size (4096)",
    },
    {
      texts: { offset: "4097", range: "0" },
      message: "offset+size (4097+0) is larger than the real size (4096)",
    },
    {
      texts: { offset: `${largest}`, range: `${largest}` },
      message: `offset+size (${largest}+${largest}) is larger than the real size (4096)`,
    },
  ])("refuses $texts when a client connects", async ({ texts, message }) => {
    const refused = async () => {
      await using stack = await above(disk(), offset, texts);
      await stack.next.getSize();
    };
    const error: unknown = await refused().catch((it: unknown) => it);
    expect(error).toBeInstanceOf(NbdError);
    expect(error).toMatchObject({ errno: "EINVAL", message: `offset: window: ${message}` });
  });

  const accepted =
    "a size in bytes (decimal, 0x… or octal 0…), with an optional suffix b, k, m, g, t, p, e or s (512 bytes)";
  test.each([
    ["offset", "-1"],
    ["offset", "abc"],
    ["offset", ""],
    ["offset", "9E"],
    ["range", "1.5k"],
    ["range", "1kb"],
    ["range", `${largest + 1n}`],
  ])("refuses %s=%s", async (key, text) => {
    await expect(configured(offset, { [key]: text })).rejects.toThrow(
      `offset: ${key}=${text}: expected ${accepted}`,
    );
  });

  test("accepts the largest size", async () => {
    await configured(offset, { offset: `${largest}`, range: `${largest}` });
  });

  test("uses the last of several offsets", async () => {
    const chain = await configured(offset, { offset: "1k" });
    await chain.config("offset", "0");
    const connection = chain.connect(clientOf(chain, 1));
    await connection.open(false, "", false);
    expect(await connection.top.getSize()).toBe(0n);
    await connection.close();
  });
});

describe("requests", () => {
  const texts = { offset: "1k", range: "1k" };

  test("read the range", async () => {
    await using stack = await above(disk(), offset, texts);
    const buf = new Uint8Array(1024);
    await stack.next.pread(buf, 0n, 0);
    expect(buf).toEqual(disk().subarray(1024, 2048));
  });

  test("write only to the range", async () => {
    await using stack = await above(disk(), offset, texts);
    await stack.next.pwrite(new Uint8Array(1024).fill(0xee), 0n, 0);
    const wanted = disk();
    wanted.fill(0xee, 1024, 2048);
    expect(stack.disk).toEqual(wanted);
  });

  test("of every kind are shifted, with their flags", async () => {
    await using stack = await above(disk(), offset, texts);
    await stack.next.pread(new Uint8Array(3), 5n, 0);
    await stack.next.pwrite(new Uint8Array(3), 6n, FLAG_FUA);
    await stack.next.trim(4, 7n, FLAG_FUA);
    await stack.next.zero(5, 8n, FLAG_MAY_TRIM);
    await stack.next.cache(6, 9n, 0);
    await stack.next.flush(0);
    expect(stack.calls).toEqual([
      "pread 3 1029",
      `pwrite 3 1030 flags=${FLAG_FUA}`,
      `trim 4 1031 flags=${FLAG_FUA}`,
      `zero 5 1032 flags=${FLAG_MAY_TRIM}`,
      "cache 6 1033",
      "flush",
    ]);
  });

  test("reach the last byte, but not the byte after it", async () => {
    await using stack = await above(disk(), offset, texts);
    const buf = new Uint8Array(1);
    await stack.next.pread(buf, 1023n, 0);
    expect(buf[0]).toBe(2047 % 251);
    expect(await errnoOf(() => stack.next.pread(buf, 1024n, 0))).toBe("EINVAL");
    expect(await errnoOf(() => stack.next.pread(new Uint8Array(2), 1023n, 0))).toBe("EINVAL");
    expect(await errnoOf(() => stack.next.pwrite(buf, 1024n, 0))).toBe("EINVAL");
    expect(await errnoOf(() => stack.next.trim(1025, 0n, 0))).toBe("EINVAL");
    expect(await errnoOf(() => stack.next.zero(1, -1n, 0))).toBe("EINVAL");
    expect(stack.calls).toEqual(["pread 1 2047"]);
  });

  test("pass on the error of the layer below unchanged", async () => {
    const error = new NbdError("ENOSPC", "the disk is full");
    await using stack = await above(disk(), offset, texts, {
      fail: () => {
        throw error;
      },
    });
    const one = new Uint8Array(1);
    const calls: readonly (() => unknown)[] = [
      () => stack.next.pread(one, 0n, 0),
      () => stack.next.pwrite(one, 0n, 0),
      () => stack.next.trim(1, 0n, 0),
      () => stack.next.zero(1, 0n, 0),
      () => stack.next.cache(1, 0n, 0),
      () => stack.next.flush(0),
    ];
    for (const call of calls) {
      expect(await Promise.try(call).catch((it: unknown) => it)).toBe(error);
    }
  });

  test("stay synchronous above a synchronous layer", async () => {
    await using stack = await above(disk(), offset, texts);
    const { next } = stack;
    await next.canZero();
    await next.canTrim();
    const one = new Uint8Array(1);
    // The first request of each kind may query the layers first.
    for (const round of ["first", "second"]) {
      const results = [next.pread(one, 0n, 0), next.pwrite(one, 0n, 0), next.trim(1, 0n, 0)];
      results.push(next.zero(1, 0n, 0), next.cache(1, 0n, 0));
      if (round === "second") expect(results).toEqual(Array.from(results, () => undefined));
      await Promise.all(results);
    }
  });

  test("wait for a layer that answers later", async () => {
    await using stack = await above(disk(), offset, texts, { later: true });
    const buf = new Uint8Array(2);
    await stack.next.pread(buf, 2n, 0);
    expect(buf).toEqual(disk().subarray(1026, 1028));
  });
});

describe("extents", () => {
  /** Data from 1000 to 3000: sectors 1 to 5. */
  const sparse = () => new Uint8Array(4096).fill(1, 1000, 3000);

  test("are those of the served range", async () => {
    await using stack = await above(sparse(), offset, { offset: "100", range: "3500" });
    expect(await mapOf(stack.next, 0n, 3500)).toEqual([
      "0+412 hole zero",
      "412+2560 data",
      "2972+528 hole zero",
    ]);
    expect(await mapOf(stack.next, 411n, 2)).toEqual(["411+1 hole zero", "412+512 data"]);
    expect(stack.calls).toEqual(["extents 3500 100", "extents 2 511"]);
  });

  test("REQ_ONE returns one extent", async () => {
    await using stack = await above(sparse(), offset, { offset: "100" });
    expect(await mapOf(stack.next, 0n, 3996, FLAG_REQ_ONE)).toEqual(["0+412 hole zero"]);
    expect(stack.calls).toEqual(["extents 3996 100 flags=4"]);
  });
});
