/** The requests that the seam emulates: FUA by a flush, zeroes by writes, caching by reads. */
import { describe, expect, test } from "bun:test";

import { defineFilter, FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, NbdError } from "#api";
import { above, errnoOf, overPlugin } from "#test/chain";

import { flushes, plugin, writes } from "./seam-fixture.ts";

const disk = () => Uint8Array.from({ length: 4096 }, (_, i) => i % 251);
const through = defineFilter({ name: "through" });

describe("FUA", () => {
  test("is a flush after the write if the plugin can only flush", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, { ...writes(calls), ...flushes(calls) }));
    await stack.next.pwrite(new Uint8Array(8), 16n, FLAG_FUA);
    expect(calls).toEqual(["pwrite 8 16 flags=0", "flush"]);
  });

  test("is passed to a plugin with native FUA through filters", async () => {
    await using stack = await above(disk(), through);
    await stack.next.pwrite(new Uint8Array(8), 0n, FLAG_FUA);
    await stack.next.trim(8, 0n, FLAG_FUA);
    await stack.next.zero(8, 0n, FLAG_FUA);
    expect(stack.calls).toEqual([
      `pwrite 8 0 flags=${FLAG_FUA}`,
      `trim 8 0 flags=${FLAG_FUA}`,
      `zero 8 0 flags=${FLAG_FUA}`,
    ]);
  });

  test("flushes a plugin that does not let clients flush", async () => {
    const calls: string[] = [];
    const methods = {
      ...writes(calls),
      ...flushes(calls),
      trim: () => void calls.push("trim"),
      canFlush: () => false,
    };
    await using stack = await overPlugin(plugin(calls, methods));
    expect(await stack.next.canFua()).toBe("emulate");
    await stack.next.pwrite(new Uint8Array(512), 0n, FLAG_FUA);
    await stack.next.trim(512, 0n, FLAG_FUA);
    await stack.next.zero(512, 0n, FLAG_FUA);
    expect(calls).toEqual([
      "pwrite 512 0 flags=0",
      "flush",
      "trim",
      "flush",
      "pwrite 512 0 flags=0",
      "flush",
    ]);
    expect(await errnoOf(() => stack.next.flush(0))).toBe("EINVAL");
  });

  test("is refused if the plugin cannot flush", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, writes(calls)));
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(8), 0n, FLAG_FUA))).toBe("EINVAL");
    expect(calls).toEqual([]);
  });

  test("fails if the flush fails", async () => {
    const flush = () => {
      throw new NbdError("ENOSPC", "no space");
    };
    await using stack = await overPlugin(plugin([], { ...writes([]), flush }));
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(8), 0n, FLAG_FUA))).toBe("ENOSPC");
  });
});

describe("zeroing", () => {
  test("writes if the plugin cannot zero, with one flush at the end", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, { ...writes(calls), ...flushes(calls) }));
    await stack.next.zero(512, 1024n, FLAG_MAY_TRIM | FLAG_FUA);
    expect(calls).toEqual(["pwrite 512 1024 flags=0", "flush"]);
  });

  test("writes pieces of 64 MiB, each at its offset", async () => {
    const calls: string[] = [];
    const step = 64 * 1024 * 1024;
    const size = BigInt(step) * 4n;
    await using stack = await overPlugin(plugin(calls, { ...writes(calls), getSize: () => size }));
    await stack.next.zero(2 * step + 1, 5n, 0);
    expect(calls).toEqual([
      `pwrite ${step} 5 flags=0`,
      `pwrite ${step} ${step + 5} flags=0`,
      `pwrite 1 ${2 * step + 5} flags=0`,
    ]);
  });

  test("writes if zero fails with EOPNOTSUPP", async () => {
    const calls: string[] = [];
    const zero = () => {
      calls.push("zero");
      throw new NbdError("EOPNOTSUPP", "cannot");
    };
    await using stack = await overPlugin(plugin(calls, { ...writes(calls), zero }));
    await stack.next.zero(512, 0n, 0);
    expect(calls).toEqual(["zero", "pwrite 512 0 flags=0"]);
  });

  test("lets other requests run between pieces of 64 MiB, even if writes are answered at once", async () => {
    const size = 200n << 20n;
    const calls: string[] = [];
    const pwrite = (_handle: object, buf: Uint8Array, offset: bigint) => {
      calls.push(`pwrite ${buf.length >> 20} MiB at ${offset >> 20n} MiB`);
      setImmediate(() => calls.push("another"));
    };
    const getSize = () => size;
    await using stack = await overPlugin(plugin(calls, { ...writes(calls), getSize, pwrite }));
    await stack.next.zero(Number(size), 0n, 0);
    expect(calls.filter((call) => call !== "zero")).toEqual([
      "pwrite 64 MiB at 0 MiB",
      "another",
      "pwrite 64 MiB at 64 MiB",
      "another",
      "pwrite 64 MiB at 128 MiB",
      "another",
      "pwrite 8 MiB at 192 MiB",
    ]);
  });

  test("fast zero fails at once instead of writing", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, writes(calls)));
    expect(await stack.next.canFastZero()).toBe(true);
    expect(await errnoOf(() => stack.next.zero(512, 0n, FLAG_FAST_ZERO))).toBe("EOPNOTSUPP");
    expect(calls).toEqual([]);
  });

  test("passes on other errors", async () => {
    const zero = () => {
      throw new NbdError("ENOSPC", "full");
    };
    await using stack = await overPlugin(plugin([], { ...writes([]), zero }));
    expect(await errnoOf(() => stack.next.zero(512, 0n, 0))).toBe("ENOSPC");
  });
});

describe("a plugin that claims a capability without the method", () => {
  const promises = {
    canWrite: () => true,
    canFlush: () => true,
    canTrim: () => true,
    canFua: () => "emulate",
  };

  test("fails as in nbdkit", async () => {
    await using stack = await overPlugin(plugin([], promises));
    const { next } = stack;
    expect(await errnoOf(() => next.pwrite(new Uint8Array(1), 0n, 0))).toBe("EROFS");
    expect(await errnoOf(() => next.flush(0))).toBe("EINVAL");
    expect(await errnoOf(() => next.trim(1, 0n, 0))).toBe("EINVAL");
    expect(() => next.trim(1, 0n, 0)).toThrow("small: the plugin has no trim");
  });

  test("fails if FUA needs a flush", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, { ...promises, ...writes(calls) }));
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(1), 0n, FLAG_FUA))).toBe("EINVAL");
    expect(calls).toEqual(["pwrite 1 0 flags=0"]);
  });

  test("writes zeroes, and has no fast zero", async () => {
    const calls: string[] = [];
    const methods = { ...writes(calls), canZero: () => true, canFastZero: () => true };
    await using stack = await overPlugin(plugin(calls, methods));
    expect(await stack.next.canZero()).toBe("native");
    await stack.next.zero(512, 0n, 0);
    expect(calls).toEqual(["pwrite 512 0 flags=0"]);
    expect(await errnoOf(() => stack.next.zero(512, 0n, FLAG_FAST_ZERO))).toBe("EOPNOTSUPP");
  });
});

test("a layer that cannot zero has no fast zero", async () => {
  const cannot = defineFilter({ name: "no", canZero: () => "none", canFastZero: () => true });
  await using stack = await above(disk(), cannot);
  expect(await stack.next.canFastZero()).toBe(false);
});

test("zeroes with FUA that are written in pieces are flushed once, after the last piece", async () => {
  const calls: string[] = [];
  const piece = 64 * 1024 * 1024;
  const methods = {
    ...writes(calls),
    ...flushes(calls),
    getSize: () => 2n * BigInt(piece),
  };
  await using stack = await overPlugin(plugin(calls, methods));
  await stack.next.zero(piece + 512, 0n, FLAG_FUA);
  expect(calls).toEqual([`pwrite ${piece} 0 flags=0`, `pwrite 512 ${piece} flags=0`, "flush"]);
});

describe("caching", () => {
  test("reads if a layer answers emulate", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, { canCache: () => "emulate" }));
    await stack.next.cache(100, 0n, 0);
    expect(calls).toEqual(["pread 100"]);
  });

  test("does nothing if the plugin answers native without a callback", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, { canCache: () => "native" }));
    await stack.next.cache(100, 0n, 0);
    expect(calls).toEqual([]);
  });
});
