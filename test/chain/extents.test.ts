/** Extents, block sizes and descriptions through the seam: defaults, checks and remembered answers. */
import { describe, expect, test } from "bun:test";

import {
  type BlockSize,
  defineFilter,
  definePlugin,
  EXTENT_HOLE,
  EXTENT_ZERO,
  Extents,
  FLAG_FUA,
  FLAG_REQ_ONE,
} from "#api";
import { above, errnoOf, mapOf, overPlugin } from "#test/chain";

/** Four sectors. The first two are data. */
const disk = () => new Uint8Array(2048).fill(1, 0, 1024);
const through = defineFilter({ name: "through" });

/** A plugin of 4096 bytes with these methods besides the required ones. */
const plugin = (methods: object = {}) => ({
  ...definePlugin({
    name: "small",
    open: () => ({}),
    getSize: () => 4096n,
    pread: (_handle, buf) => void buf.fill(7),
  }),
  ...methods,
});

describe("extents", () => {
  test("come from the layer below if the filter has no method", async () => {
    await using stack = await above(disk(), through);
    expect(await mapOf(stack.next, 0n, 2048)).toEqual(["0+1024 data", "1024+1024 hole zero"]);
    expect(await mapOf(stack.next, 700n, 500)).toEqual(["700+324 data", "1024+512 hole zero"]);
    expect(await mapOf(stack.next, 0n, 2048, FLAG_REQ_ONE)).toEqual(["0+1024 data"]);
    expect(stack.calls).toEqual(["extents 2048 0", "extents 500 700", "extents 2048 0 flags=4"]);
  });

  test("are one extent of data if canExtents is false, and the layer is not called", async () => {
    await using stack = await above(disk(), through, {}, { extents: false });
    expect(await stack.next.canExtents()).toBe(false);
    expect(await mapOf(stack.next, 512n, 1536)).toEqual(["512+1536 data"]);
    expect(stack.calls).toEqual([]);
  });

  test("are one extent of data if a filter answers false to canExtents", async () => {
    await using stack = await above(disk(), defineFilter({ name: "f", canExtents: () => false }));
    expect(await mapOf(stack.next, 512n, 1536)).toEqual(["512+1536 data"]);
    expect(stack.calls).toEqual([]);
  });

  test("canExtents of a plugin is true if it has the method", async () => {
    await using without = await overPlugin(plugin());
    expect(await without.next.canExtents()).toBe(false);
    expect(await mapOf(without.next, 0n, 4096)).toEqual(["0+4096 data"]);
    const extents = (
      _handle: unknown,
      count: number,
      offset: bigint,
      _flags: number,
      to: Extents,
    ) => to.add(offset, BigInt(count), EXTENT_ZERO);
    await using having = await overPlugin(plugin({ extents }));
    expect(await having.next.canExtents()).toBe(true);
    expect(await mapOf(having.next, 1n, 4095)).toEqual(["1+4095 zero"]);
  });

  test.each([
    { what: "none", methods: { extents: () => {} } },
    { what: "none, later", methods: { extents: () => Promise.resolve() } },
    { what: "no method but a promise of one", methods: { canExtents: () => true } },
    {
      what: "only what lies before the range",
      methods: { extents: (...[, , , , to]: [1, 2, 3, 4, Extents]) => to.add(0n, 512n, 0) },
    },
  ])("a plugin that returns $what fails the request", async ({ methods }) => {
    await using stack = await overPlugin(plugin(methods));
    const ask = async () => stack.next.extents(512, 512n, 0, new Extents(0n, 4096n));
    expect(await errnoOf(ask)).toBe("EINVAL");
    await expect(ask()).rejects.toThrow("small: extents: plugin must return at least one extent");
  });

  test("a filter that returns none fails the request", async () => {
    await using stack = await above(disk(), defineFilter({ name: "f", extents: () => {} }));
    const ask = async () => stack.next.extents(512, 0n, 0, new Extents(0n, 2048n));
    await expect(ask()).rejects.toThrow("f: extents: filter must return at least one extent");
  });

  test.each([false, true])("extents with gaps fail with ERANGE (later: %p)", async (later) => {
    const add = (to: Extents) => {
      to.add(0n, 512n, 0);
      to.add(1024n, 512n, EXTENT_HOLE);
    };
    const extents = (...[, , , , to]: [1, 2, 3, 4, Extents]) =>
      later ? Promise.resolve(to).then(add) : add(to);
    await using stack = await overPlugin(plugin({ extents }));
    expect(await errnoOf(() => mapOf(stack.next, 0n, 4096))).toBe("ERANGE");
  });

  test.each([
    { count: 0, offset: 0n, flags: 0 },
    { count: 1, offset: 2048n, flags: 0 },
    { count: 2049, offset: 0n, flags: 0 },
    { count: 1, offset: -1n, flags: 0 },
    { count: 1, offset: 0n, flags: FLAG_FUA },
  ])("$count bytes at $offset with flags $flags are refused", async ({ count, offset, flags }) => {
    await using stack = await above(disk(), through);
    const list = new Extents(0n, 2048n);
    expect(await errnoOf(() => stack.next.extents(count, offset, flags, list))).toBe("EINVAL");
    expect(stack.calls).toEqual([]);
  });

  test("a chain that answers at once makes no promise", async () => {
    await using stack = await above(disk(), through);
    expect(stack.next.extents(512, 0n, 0, new Extents(0n, 2048n))).toBeUndefined();
  });

  test("come later from a disk that answers later", async () => {
    await using stack = await above(disk(), through, {}, { later: true });
    expect(await mapOf(stack.next, 512n, 1024)).toEqual(["512+512 data", "1024+512 hole zero"]);
  });
});

describe("block sizes", () => {
  const sizes: BlockSize = { minimum: 512, preferred: 4096, maximum: 0xffffffff };

  test("are unknown by default", async () => {
    await using stack = await above(disk(), through);
    expect(await stack.next.blockSize()).toEqual({ minimum: 0, preferred: 0, maximum: 0 });
  });

  test("are asked once and passed on", async () => {
    let asked = 0;
    const below = defineFilter({
      name: "below",
      blockSize: () => {
        asked++;
        return sizes;
      },
    });
    await using stack = await above(disk(), through, {}, { below: [below] });
    expect([await stack.next.blockSize(), await stack.next.blockSize()]).toEqual([sizes, sizes]);
    expect(asked).toBe(1);
  });

  test("of a filter may break the rules, but must fit into C's type", async () => {
    const large = { minimum: 1, preferred: 64 << 20, maximum: 0xffffffff };
    const of = (size: BlockSize) => defineFilter({ name: "f", blockSize: () => size });
    await using stack = await above(disk(), of(large));
    expect(await stack.next.blockSize()).toEqual(large);
    await using odd = await above(disk(), of({ ...large, minimum: -1 }));
    expect(await errnoOf(() => odd.next.blockSize())).toBe("EINVAL");
  });

  test("that are invalid fail each time", async () => {
    const odd = { minimum: 512, preferred: 256, maximum: 1024 };
    await using stack = await overPlugin(plugin({ blockSize: () => odd }));
    const ask = async () => stack.next.blockSize();
    const says =
      "small: blockSize returned a preferred block size 256: expected a power of 2 from 512 to 33554432";
    await expect(ask()).rejects.toThrow(says);
    expect(await errnoOf(ask)).toBe("EINVAL");
  });
});

describe("descriptions", () => {
  test("are missing by default", async () => {
    await using stack = await above(disk(), through);
    expect(await stack.next.exportDescription()).toBeUndefined();
  });

  test("come from the layer below, and filters can change them", async () => {
    const filter = defineFilter({
      name: "loud",
      exportDescription: async (next) => (await next.exportDescription())?.toUpperCase(),
    });
    const below = defineFilter({ name: "below", exportDescription: () => "a disk" });
    await using stack = await above(disk(), filter, {}, { below: [through, below] });
    expect(await stack.next.exportDescription()).toBe("A DISK");
  });

  test.each([
    ["of 4096 bytes reach the client", "d".repeat(4096), "d".repeat(4096)],
    ["of 4097 bytes, too long for NBD, are ignored", "d".repeat(4097), undefined],
    ["with a NUL are ignored", "a\0b", undefined],
  ])("%s", async (_name, text, expected) => {
    await using stack = await overPlugin(plugin({ exportDescription: () => text }));
    expect(await stack.next.exportDescription()).toBe(expected);
  });

  test("that are not strings are an error of the layer", async () => {
    await using stack = await overPlugin(plugin({ exportDescription: () => 5 }));
    expect(await errnoOf(() => stack.next.exportDescription())).toBe("EIO");
  });
});
