/** The seam: the calls that it refuses, and the answers that it remembers. */
import { describe, expect, test } from "bun:test";

import { defineFilter, NbdError } from "#api";
import { above, errnoOf, overPlugin } from "#test/chain";

import { Extents } from "../../src/lib/extents.ts";
import { namedMessage } from "../../src/lib/speaker.ts";
import { flushes, plugin, writes } from "./seam-fixture.ts";

const disk = () => Uint8Array.from({ length: 4096 }, (_, i) => i % 251);
const through = defineFilter({ name: "through" });

describe("a request beyond the layer below names the layer that broke the rule", () => {
  const beyond = defineFilter({
    name: "beyond",
    pread: (next, _handle, buf, offset, flags) => next.pread(buf, offset + 4096n, flags),
  });
  const larger = defineFilter({
    name: "larger",
    getSize: async (next) => (await next.getSize()) * 4n,
  });
  const asked = (name: string) => `${name} was asked for pread count=1 offset=4096, outside`;
  test.each([
    { rule: "a filter that asks for it", layers: [beyond], says: `beyond: ${asked("disk")}` },
    {
      rule: "above one that passes it on",
      layers: [beyond, through],
      says: `beyond: ${asked("through")}`,
    },
    {
      rule: "below one that passes it on",
      layers: [through, beyond],
      says: `beyond: ${asked("disk")}`,
    },
    {
      rule: "a filter that passes on what its size allows",
      layers: [beyond, larger],
      says: `larger: ${asked("disk")}`,
    },
  ])("$rule", async ({ layers: [top, ...below], says }) => {
    await using stack = await above(disk(), top, {}, { below });
    const error = await Promise.try(() => stack.next.pread(new Uint8Array(1), 0n, 0)).catch(
      (it: unknown) => it,
    );
    expect(error).toBeInstanceOf(NbdError);
    expect(namedMessage(error as NbdError)).toStartWith(says);
  });
});

describe("ranges", () => {
  test.each([
    { what: "the first byte", count: 1, offset: 0n, errno: "no error" },
    { what: "the last byte", count: 1, offset: 4095n, errno: "no error" },
    { what: "everything", count: 4096, offset: 0n, errno: "no error" },
    { what: "one byte beyond the end", count: 1, offset: 4096n, errno: "EINVAL" },
    { what: "a range that crosses the end", count: 2, offset: 4095n, errno: "EINVAL" },
    { what: "a negative offset", count: 1, offset: -1n, errno: "EINVAL" },
    { what: "an offset beyond 2^63", count: 1, offset: 1n << 63n, errno: "EINVAL" },
    { what: "no bytes", count: 0, offset: 0n, errno: "EINVAL" },
  ])("$what: $errno", async ({ count, offset, errno }) => {
    await using stack = await above(disk(), through);
    const buf = new Uint8Array(count);
    expect(await errnoOf(() => stack.next.pread(buf, offset, 0))).toBe(errno);
    expect(await errnoOf(() => stack.next.pwrite(buf, offset, 0))).toBe(errno);
    expect(await errnoOf(() => stack.next.trim(count, offset, 0))).toBe(errno);
    expect(await errnoOf(() => stack.next.zero(count, offset, 0))).toBe(errno);
    expect(await errnoOf(() => stack.next.cache(count, offset, 0))).toBe(errno);
  });

  test("sizes beyond 2^53 are compared exactly", async () => {
    const size = (1n << 63n) - 1n;
    await using stack = await overPlugin(plugin([], { getSize: () => size }));
    const buf = new Uint8Array(2);
    expect(await errnoOf(() => stack.next.pread(buf, size - 2n, 0))).toBe("no error");
    expect(await errnoOf(() => stack.next.pread(buf, size - 1n, 0))).toBe("EINVAL");
  });

  test.each([
    {
      method: "pread",
      args: [new Uint8Array(1), 0, 0],
      said: "pread with an offset of 0 (a number)",
    },
    { method: "pwrite", args: [new Uint8Array(1), "0", 0], said: 'pwrite with an offset of "0"' },
    { method: "pread", args: [1, 0n, 0], said: "pread without a buffer" },
    { method: "trim", args: [undefined, 0n, 0], said: "trim without a count" },
    { method: "zero", args: [1, undefined, 0], said: "zero with an offset of undefined" },
    { method: "cache", args: [1n, 0n, 0], said: "cache without a count" },
    { method: "extents", args: [1.5, 0n, 0], said: "extents without a count" },
  ] as const)(
    "arguments of a wrong type are refused and named: $said",
    async ({ method, args, said }) => {
      await using stack = await above(disk(), through);
      // Modules without a type check may make such calls.
      const request = Reflect.get(stack.next, method);
      const call = async () =>
        await Reflect.apply(request, stack.next, [...args, new Extents(0n, 4096n)]);
      const failure = await call().catch((error: unknown) => error);
      expect(failure).toMatchObject({ errno: "EINVAL", message: expect.stringContaining(said) });
    },
  );

  test.each([-1n, 1n << 63n])("a size of %p is refused", async (size) => {
    await using stack = await overPlugin(plugin([], { getSize: () => size }));
    expect(await errnoOf(() => stack.next.getSize())).toBe("EIO");
  });
});

test("a request to layers that answer at once makes no promise", async () => {
  await using stack = await above(disk(), through);
  expect(stack.next.getSize()).toBe(4096n);
  expect(stack.next.canWrite()).toBe(true);
  expect(stack.next.pread(new Uint8Array(8), 0n, 0)).toBeUndefined();
  expect(stack.next.pwrite(new Uint8Array(8), 0n, 0)).toBeUndefined();
});

describe("questions", () => {
  test("are asked once per connection", async () => {
    let asked = 0;
    const counting = defineFilter({
      name: "counting",
      getSize(next) {
        asked++;
        return next.getSize();
      },
    });
    await using stack = await above(disk(), counting);
    await stack.next.getSize();
    await stack.next.getSize();
    await stack.next.pread(new Uint8Array(1), 0n, 0);
    expect(asked).toBe(1);
  });

  test("are asked again after a failure", async () => {
    let asked = 0;
    const failing = defineFilter({
      name: "failing",
      async canFlush(next) {
        if (asked++ === 0) throw new NbdError("EIO", "not yet");
        return next.canFlush();
      },
    });
    await using stack = await above(disk(), failing);
    expect(await errnoOf(() => stack.next.canFlush())).toBe("EIO");
    expect(await stack.next.canFlush()).toBe(true);
  });

  test("of a plugin that can only read have the defaults of nbdkit", async () => {
    await using stack = await overPlugin(plugin([]));
    const { next } = stack;
    expect([
      await next.canWrite(),
      await next.canTrim(),
      await next.canZero(),
      await next.canFastZero(),
      await next.canFua(),
      await next.canFlush(),
      await next.isRotational(),
      await next.canMultiConn(),
      await next.canCache(),
    ]).toEqual([false, false, "none", false, "none", false, false, false, "none"]);
  });

  test("of a plugin with all callbacks follow from these", async () => {
    const all = { ...writes([]), ...flushes([]), trim() {}, zero() {}, cache() {} };
    await using stack = await overPlugin(plugin([], all));
    const { next } = stack;
    expect([
      await next.canWrite(),
      await next.canTrim(),
      await next.canZero(),
      await next.canFastZero(),
      await next.canFua(),
      await next.canFlush(),
      await next.canCache(),
    ]).toEqual([true, true, "native", false, "emulate", true, "native"]);
  });

  test.each([{ method: "canZero" }, { method: "canFua" }, { method: "canCache" }] as const)(
    "of a filter: $method must be one of three strings",
    async ({ method }) => {
      await using stack = await above(disk(), { name: "odd", [method]: () => true });
      const error: unknown = await Promise.try(() => stack.next[method]()).catch(
        (it: unknown) => it,
      );
      expect(error).toMatchObject({
        errno: "EIO",
        message: `odd: ${method} returned true (a boolean): expected one of none, emulate, native`,
      });
    },
  );

  test("canWrite is false if the client opened the export read-only", async () => {
    await using stack = await above(disk(), through, {}, { readonly: true });
    expect(await stack.next.canWrite()).toBe(false);
    expect(await stack.next.canFua()).toBe("none");
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(1), 0n, 0))).toBe("EINVAL");
  });
});

describe("an error that a layer throws", () => {
  test.each([
    { what: "an NbdError", thrown: new NbdError("EDQUOT", "quota"), errno: "EDQUOT" },
    {
      what: "an error of node:fs",
      thrown: Object.assign(new Error("io"), { code: "ENOSPC", errno: -28 }),
      errno: "ENOSPC",
    },
    { what: "a bug", thrown: new TypeError("undefined is not a function"), errno: "EIO" },
    { what: "a string", thrown: "a string", errno: "EIO" },
    { what: "null", thrown: null, errno: "EIO" },
  ])("$what becomes $errno, at once or later", async ({ thrown, errno }) => {
    const now = plugin([], {
      pread: () => {
        throw thrown;
      },
    });
    const later = plugin([], { pread: () => Promise.reject(thrown) });
    for (const it of [now, later]) {
      await using stack = await overPlugin(it);
      expect(await errnoOf(() => stack.next.pread(new Uint8Array(1), 0n, 0))).toBe(errno);
    }
  });

  test("passes through other layers unchanged", async () => {
    const fail = () => {
      throw new NbdError("ESTALE", "gone");
    };
    await using stack = await above(disk(), through, {}, { fail, below: [through] });
    expect(await errnoOf(() => stack.next.pread(new Uint8Array(1), 0n, 0))).toBe("ESTALE");
  });
});

test("an answer that is a thenable is awaited, even if its then returns nothing", async () => {
  const soon = <T>(go: () => T) => ({
    // oxlint-disable-next-line unicorn/no-thenable -- that is what is tested
    then(resolve: (value: T) => void, reject: (error: unknown) => void): void {
      setImmediate(() => {
        try {
          resolve(go());
        } catch (error) {
          reject(error);
        }
      });
    },
  });
  const gone = () => {
    throw new NbdError("ESTALE", "gone");
  };
  const it = plugin([], {
    getSize: () => soon(() => 512n),
    canWrite: () => soon(() => true),
    pread: (_handle: unknown, buf: Uint8Array) => soon(() => void buf.fill(9)),
    pwrite: () => soon(gone),
    zero: () => soon(gone),
  });
  await using stack = await overPlugin(it);
  expect(await stack.next.getSize()).toBe(512n);
  const buf = new Uint8Array(2);
  await stack.next.pread(buf, 0n, 0);
  expect(buf).toEqual(Uint8Array.of(9, 9));
  expect(await errnoOf(() => stack.next.pwrite(buf, 0n, 0))).toBe("ESTALE");
  expect(await errnoOf(() => stack.next.zero(2, 0n, 0))).toBe("ESTALE");
});

test("a request on a closed connection fails, and calls no layer", async () => {
  const stack = await above(disk(), through);
  await stack.next.getSize();
  await stack.close();
  expect(await errnoOf(() => stack.next.pread(new Uint8Array(1), 0n, 0))).toBe("EINVAL");
  expect(stack.calls).toEqual([]);
});
