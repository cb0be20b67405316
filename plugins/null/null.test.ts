/** Tests of the null plugin, without filters. */
import { describe, expect, test } from "bun:test";

import { FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM } from "#api";
import { abilities, configured, errnoOf, everyAbility, mapOf, overPlugin } from "#test/chain";

import plugin from "./null.ts";

describe("the null plugin", () => {
  test("is empty without a size", async () => {
    await using stack = await overPlugin(plugin);
    expect(await stack.next.getSize()).toBe(0n);
  });

  test.each([
    ["1k", 1024n],
    ["9223372036854775807", (1n << 63n) - 1n],
  ])("has the size of size=%s", async (size, bytes) => {
    await using stack = await overPlugin(plugin, { size });
    expect(await stack.next.getSize()).toBe(bytes);
  });

  test("discards writes and reads zeroes, even at the end of the largest disk", async () => {
    await using stack = await overPlugin(plugin, { size: "9223372036854775807" });
    const last = (1n << 63n) - 1n - 4n;
    await stack.next.pwrite(new Uint8Array([1, 2, 3, 4]), last, FLAG_FUA);
    const buf = new Uint8Array(4).fill(0xff);
    await stack.next.pread(buf, last, 0);
    expect(buf).toEqual(new Uint8Array(4));
  });

  test("has every ability", async () => {
    await using stack = await overPlugin(plugin, { size: "1m" });
    const { next } = stack;
    expect(await abilities(next)).toEqual(everyAbility);
    await next.flush(0);
    await next.trim(4096, 0n, FLAG_FUA);
    await next.zero(4096, 0n, FLAG_FUA | FLAG_MAY_TRIM | FLAG_FAST_ZERO);
    await next.cache(4096, 0n, 0);
  });

  test("refuses a range beyond the end", async () => {
    await using stack = await overPlugin(plugin, { size: "512" });
    expect(await errnoOf(() => stack.next.pread(new Uint8Array(2), 511n, 0))).toBe("EINVAL");
  });

  test.each([{ size: "-1" }, { size: "x" }, { sizes: "1" }])("refuses %p", async (texts) => {
    await expect(configured(plugin, texts as Record<string, string>)).rejects.toThrow();
  });
});

test("the null plugin reports the whole disk as a hole", async () => {
  await using stack = await overPlugin(plugin, { size: "1m" });
  expect(await mapOf(stack.next, 0n, 1 << 20)).toEqual(["0+1048576 hole zero"]);
  expect(await mapOf(stack.next, 1000n, 1)).toEqual(["1000+1047576 hole zero"]);
});
