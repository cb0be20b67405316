/** The contract that every plugin in plugins/ keeps. New folders are tested without a change here. */
import { describe, expect, test } from "bun:test";

import * as fc from "fast-check";

import { EXTENT_ZERO, Extents, FLAG_FUA, FLAG_MAY_TRIM, FLAG_REQ_ONE } from "#api";
import { clientOf, configured, errnoOf, overPlugin } from "#test/chain";

import { allPlugins, pluginSize as size } from "./subjects.ts";

const plugins = await allPlugins();
const seed = 20260101;
const ranges = fc
  .tuple(fc.nat(size - 1), fc.nat(size - 1))
  .map(([a, b]) => ({ offset: Math.min(a, b), count: Math.abs(a - b) + 1 }));

describe.each(plugins)("$name", ({ module, texts, forgets }) => {
  test("reads back written data, and reports extents that cover the request and are true", async () => {
    await using stack = await overPlugin(module, texts());
    const { next } = stack;
    const model = new Uint8Array(size);
    const all = new Uint8Array(size);
    const property = fc.asyncProperty(
      ranges,
      fc.constantFrom("write", "zero", "trim", "none"),
      fc.integer({ min: 1, max: 255 }),
      fc.constantFrom(0, FLAG_FUA),
      ranges,
      fc.constantFrom(0, FLAG_REQ_ONE),
      async (range, how, byte, fua, asked, one) => {
        const { count } = range;
        const offset = BigInt(range.offset);
        if (how === "write") await next.pwrite(new Uint8Array(count).fill(byte), offset, fua);
        if (how === "zero") await next.zero(count, offset, fua | FLAG_MAY_TRIM);
        if (how === "trim") await next.trim(count, offset, fua);
        await next.pread(all, 0n, 0);
        // A trimmed range may read as anything.
        if (how === "trim")
          model.set(all.subarray(range.offset, range.offset + count), range.offset);
        else if (how !== "none" && !forgets) {
          model.fill(how === "write" ? byte : 0, range.offset, range.offset + count);
        }
        expect(Buffer.compare(all, model)).toBe(0);
        const list = new Extents(BigInt(asked.offset), BigInt(size));
        await next.extents(asked.count, BigInt(asked.offset), one, list);
        expect(list.entries[0]?.offset).toBe(BigInt(asked.offset));
        for (const it of list.entries) {
          const part = all.subarray(Number(it.offset), Number(it.offset + it.length));
          if (it.type & EXTENT_ZERO) expect(part.every((one_) => one_ === 0)).toBe(true);
        }
      },
    );
    await fc.assert(property, { seed, numRuns: 60 });
  });

  test("serves several clients, and closes each once", async () => {
    const chain = await configured(module as { readonly kind: "plugin" }, texts());
    const connections = [1, 2, 3].map((id) => chain.connect(clientOf(chain, id)));
    for (const it of connections) await it.open(false, "", false);
    const [one, two] = connections;
    await one?.close();
    const buf = new Uint8Array(1);
    await two?.top.pread(buf, BigInt(size - 1), 0);
    expect(await errnoOf(() => one?.top.pread(buf, 0n, 0))).toBe("EINVAL");
    for (const it of connections) await it.close();
    await chain.cleanup();
    await chain.unload();
  });

  test("does not let a read-only client write", async () => {
    await using stack = await overPlugin(module, texts(), { readonly: true });
    expect(await stack.next.canWrite()).toBe(false);
    const write = () => stack.next.pwrite(new Uint8Array(1), 0n, 0);
    expect(await errnoOf(write)).toBe("EINVAL");
  });

  test("refuses unknown parameters, and names the known ones", async () => {
    const unknown = { ...texts(), "no-such-parameter": "1" };
    const plugin = module as { readonly kind: "plugin" };
    await expect(configured(plugin, unknown)).rejects.toThrow(
      /unknown parameter no-such-parameter=1: expected one of [a-z]+/,
    );
  });
});
