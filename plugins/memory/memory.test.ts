/** Tests of the memory plugin, without filters. */
import { describe, expect, test } from "bun:test";

import { FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, FLAG_REQ_ONE } from "#api";
import {
  abilities,
  clientOf,
  configured,
  errnoOf,
  everyAbility,
  mapOf,
  overPlugin,
} from "#test/chain";

import plugin from "./memory.ts";

async function readFrom(
  next: { pread(buf: Uint8Array, offset: bigint, flags: number): unknown },
  offset: bigint,
  count: number,
): Promise<number[]> {
  const buf = new Uint8Array(count).fill(0xee);
  await next.pread(buf, offset, 0);
  return [...buf];
}

describe("the memory plugin", () => {
  test("returns written data, with zeroes around it", async () => {
    await using stack = await overPlugin(plugin, { size: "1m" });
    await stack.next.pwrite(new Uint8Array([1, 2, 3]), 32767n, FLAG_FUA);
    expect(await readFrom(stack.next, 32766n, 5)).toEqual([0, 1, 2, 3, 0]);
  });

  test("serves the last byte of the largest disk", async () => {
    await using stack = await overPlugin(plugin, { size: "9223372036854775807" });
    const last = (1n << 63n) - 2n;
    expect(await stack.next.getSize()).toBe(last + 1n);
    await stack.next.pwrite(new Uint8Array([7]), last, 0);
    expect(await readFrom(stack.next, last - 3n, 4)).toEqual([0, 0, 0, 7]);
    expect(await errnoOf(() => stack.next.pread(new Uint8Array(2), last, 0))).toBe("EINVAL");
  });

  test("gives all clients the same disk", async () => {
    await using stack = await overPlugin(plugin, { size: "1m" });
    const other = stack.chain.connect(clientOf(stack.chain, 2));
    await other.open(false, "", false);
    await stack.next.pwrite(new Uint8Array([9]), 0n, 0);
    expect(await readFrom(other.top, 0n, 1)).toEqual([9]);
    await other.close();
    expect(await readFrom(stack.next, 0n, 1)).toEqual([9]);
  });

  test("prefers whole pages", async () => {
    await using stack = await overPlugin(plugin, { size: "1m" });
    const blockSize = { minimum: 1, preferred: 32768, maximum: 4294967295 };
    expect(await stack.next.blockSize()).toEqual(blockSize);
  });

  test("shares nothing between two disks", async () => {
    await using one = await overPlugin(plugin, { size: "1m" });
    await using two = await overPlugin(plugin, { size: "1m" });
    await one.next.pwrite(new Uint8Array([9]), 0n, 0);
    expect(await readFrom(two.next, 0n, 1)).toEqual([0]);
  });

  test("zeroes only the range of trim and zero", async () => {
    await using stack = await overPlugin(plugin, { size: "256k" });
    await stack.next.pwrite(new Uint8Array(262144).fill(1), 0n, 0);
    await stack.next.trim(100_000, 10n, FLAG_FUA);
    await stack.next.zero(100_000, 150_000n, FLAG_MAY_TRIM | FLAG_FAST_ZERO);
    const expected = new Uint8Array(262144).fill(1);
    expected.fill(0, 10, 100_010).fill(0, 150_000, 250_000);
    const buf = new Uint8Array(262144);
    await stack.next.pread(buf, 0n, 0);
    expect(Buffer.compare(buf, expected)).toBe(0);
  });

  test("has every ability", async () => {
    await using stack = await overPlugin(plugin, { size: "1m" });
    const { next } = stack;
    expect(await abilities(next)).toEqual(everyAbility);
    await next.flush(0);
    await next.cache(4096, 0n, 0);
  });

  test("answers reads and writes at once", async () => {
    await using stack = await overPlugin(plugin, { size: "1m" });
    await stack.next.getSize();
    await stack.next.canWrite();
    expect(stack.next.pwrite(new Uint8Array(8), 0n, 0)).toBeUndefined();
    expect(stack.next.pread(new Uint8Array(8), 0n, 0)).toBeUndefined();
  });

  test("requires a size", async () => {
    await expect(configured(plugin, {})).rejects.toThrow("size= is required");
  });

  test.each(["sparse", "malloc", "malloc,mlock=false"])(
    "accepts allocator=%s",
    async (allocator) => {
      await using stack = await overPlugin(plugin, { size: "1", allocator });
      expect(await stack.next.getSize()).toBe(1n);
    },
  );

  test.each([
    ["malloc,mlock=true", "allocator=malloc,mlock=true: expected mlock=false (--swap"],
    ["malloc,x=1", "allocator=malloc,x=1: expected mlock=false"],
    ["zstd", "allocator=zstd: this plugin does not compress pages: expected sparse or malloc"],
    ["sparse,x=1", "allocator=sparse,x=1: it takes no further parameters"],
    ["best", "allocator=best: expected sparse or malloc"],
  ])("refuses allocator=%s", async (allocator, message) => {
    await expect(configured(plugin, { size: "1m", allocator })).rejects.toThrow(message);
  });
});

describe("extents", () => {
  test("distinguish unwritten pages, written zeroes and data", async () => {
    await using stack = await overPlugin(plugin, { size: "10g" });
    await stack.next.pwrite(new Uint8Array([1]), 100_000n, 0);
    await stack.next.pwrite(new Uint8Array(40_000), 10_000_000n, 0);
    expect(await mapOf(stack.next, 0n, 1 << 30)).toEqual([
      "0+98304 hole zero",
      "98304+32768 data",
      "131072+9863168 hole zero",
      "9994240+65536 zero",
      "10059776+1063682048 hole zero",
    ]);
    expect(await mapOf(stack.next, 100_001n, 40_000)).toEqual([
      "100001+31071 zero",
      "131072+32768 hole zero",
    ]);
    expect(await mapOf(stack.next, 100_000n, 1)).toEqual(["100000+31072 data"]);
    expect(await mapOf(stack.next, 5n, 1 << 30, FLAG_REQ_ONE)).toEqual(["5+98299 hole zero"]);
  });

  test("are exact at the end of the largest disk", async () => {
    const size = (1n << 63n) - 1n;
    await using stack = await overPlugin(plugin, { size: `${size}` });
    await stack.next.pwrite(new Uint8Array([1]), size - 1n, 0);
    expect(await mapOf(stack.next, size - 40_000n, 40_000)).toEqual([
      `${size - 40_000n}+7233 hole zero`,
      `${size - 32_767n}+32767 data`,
    ]);
  });

  test("stop early if there are many pages to search", async () => {
    await using stack = await overPlugin(plugin, { size: "64m" });
    await stack.next.pwrite(new Uint8Array(64 << 20).fill(1), 0n, 0);
    expect(await mapOf(stack.next, 0n, 64 << 20)).toEqual(["0+33554432 data"]);
  });
});
