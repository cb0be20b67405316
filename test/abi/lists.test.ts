/** Lists of exports and extents to which several layers add entries, in C and in TypeScript. */
import { describe, expect, test } from "bun:test";

import { defineFilter, definePlugin, EXTENT_HOLE, EXTENT_ZERO } from "#api";
import { clientOf, mapOf } from "#test/chain";
import { compileModule, haveCompiler } from "#test/modules";
import { nativeLayer, nativeStack, scriptLayer } from "#test/native";

const lists = async () => nativeLayer("filter", await compileModule("test/fixtures/lists.c"));

/** Every other block is a hole. The extents end with the requested range. */
const block = 512n;
const plugin = definePlugin({
  name: "striped",
  open: () => ({}),
  getSize: () => 4096n * block,
  pread: (_handle, buf) => void buf.fill(0),
  listExports(_config, _readonly, _isTls, exports) {
    exports.add("plugin");
  },
  extents(_handle, count, offset, _flags, extents) {
    for (let at = offset; at < offset + BigInt(count); at += block) {
      extents.add(at, block, (at / block) % 2n === 0n ? 0 : EXTENT_HOLE | EXTENT_ZERO);
    }
  },
});

const script = defineFilter({
  name: "script",
  listExports(next, _config, readonly, _isTls, exports) {
    exports.add("script");
    return next(readonly, exports);
  },
  async extents(next, _config, count, offset, flags, extents) {
    const half = count / 2;
    await next.extents(half, offset, flags, extents);
    await next.extents(count - half, offset + BigInt(half), flags, extents);
  },
});

const chains = [
  { what: "C", filters: async () => [await lists()], names: ["plugin", "filter"] },
  {
    what: "TypeScript above C",
    filters: async () => [scriptLayer("filter", script), await lists()],
    names: ["script", "plugin", "filter"],
  },
  {
    what: "C above TypeScript",
    filters: async () => [await lists(), scriptLayer("filter", script)],
    names: ["script", "plugin", "filter"],
  },
  {
    what: "C above C",
    filters: async () => [await lists(), await lists()],
    names: ["plugin", "filter", "filter"],
  },
];

describe.skipIf(!haveCompiler)("a list that goes through several layers (needs cc)", () => {
  test.each(chains)("has each export once ($what)", async ({ filters, names }) => {
    await using stack = await nativeStack(
      await filters(),
      {},
      { plugin: scriptLayer("plugin", plugin) },
    );
    const exports = await stack.chain.listExports(clientOf(stack.chain), false);
    expect(exports.entries.map(({ name }) => name)).toEqual(names);
  });

  test.each(chains)("has all extents that were added in two parts ($what)", async ({ filters }) => {
    await using stack = await nativeStack(
      await filters(),
      {},
      { plugin: scriptLayer("plugin", plugin) },
    );
    const { top } = await stack.connect();
    expect(await mapOf(top, 2n * block, 8 * Number(block))).toEqual(
      [2, 3, 4, 5, 6, 7, 8, 9].map(
        (at) => `${at * 512}+512 ${at % 2 === 0 ? "data" : "hole zero"}`,
      ),
    );
  });

  test.each(chains)(
    "has all extents if they are more than one copy holds ($what)",
    async ({ filters }) => {
      await using stack = await nativeStack(
        await filters(),
        {},
        { plugin: scriptLayer("plugin", plugin) },
      );
      const { top } = await stack.connect();
      const all = Array.from(
        { length: 4096 },
        (_, at) => `${at * 512}+512 ${at % 2 === 0 ? "data" : "hole zero"}`,
      );
      expect(await mapOf(top, 0n, 4096 * Number(block))).toEqual(all);
    },
  );
});
