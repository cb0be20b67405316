/** The seam: what it refuses, remembers and supplies, whatever the layers do. */
import { describe, expect, test } from "bun:test";

import {
  defineFilter,
  definePlugin,
  FLAG_FAST_ZERO,
  FLAG_FUA,
  FLAG_MAY_TRIM,
  NbdError,
} from "#api";
import { above, errnoOf, overPlugin } from "#test/chain";

const disk = () => Uint8Array.from({ length: 4096 }, (_, i) => i % 251);
const through = defineFilter({ name: "through" });

/** A plugin with `methods` over a minimal one that writes down its calls. */
function plugin(calls: string[], methods: object = {}) {
  return {
    ...definePlugin({
      name: "small",
      open: () => ({}),
      getSize: () => 4096n,
      pread: (_handle, buf) => {
        calls.push(`pread ${buf.length}`);
        buf.fill(7);
      },
    }),
    ...methods,
  };
}
const writes = (calls: string[]) => ({
  pwrite: (_handle: unknown, buf: Uint8Array, offset: bigint, flags: number) => {
    calls.push(`pwrite ${buf.length} ${offset} flags=${flags}`);
  },
});
const flushes = (calls: string[]) => ({ flush: () => void calls.push("flush") });

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

  test.each([-1n, 1n << 63n])("a size of %p is refused", async (size) => {
    await using stack = await overPlugin(plugin([], { getSize: () => size }));
    expect(await errnoOf(() => stack.next.getSize())).toBe("EIO");
  });
});

test("a chain of layers that answer at once makes no promise", async () => {
  await using stack = await above(disk(), through);
  expect(stack.next.getSize()).toBe(4096n);
  expect(stack.next.canWrite()).toBe(true);
  expect(stack.next.pread(new Uint8Array(8), 0n, 0)).toBeUndefined();
  expect(stack.next.pwrite(new Uint8Array(8), 0n, 0)).toBeUndefined();
});

test("what a method returns besides a promise does not matter", async () => {
  await using stack = await overPlugin(
    plugin([], { pread: (_handle: unknown, buf: Uint8Array) => buf.fill(1) }),
  );
  const buf = new Uint8Array(4);
  await stack.next.getSize();
  expect(stack.next.pread(buf, 0n, 0)).toBeUndefined();
  expect([...buf]).toEqual([1, 1, 1, 1]);
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

  test("of a plugin that can only read", async () => {
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

  test("of a plugin with all callbacks", async () => {
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

  test.each([
    { method: "canZero", c: "can_zero" },
    { method: "canFua", c: "can_fua" },
    { method: "canCache", c: "can_cache" },
  ] as const)("of a filter whose $method is none of the three words", async ({ method, c }) => {
    await using stack = await above(disk(), { name: "odd", [method]: () => true });
    const error: unknown = await Promise.try(() => stack.next[method]()).catch((it: unknown) => it);
    expect(error).toMatchObject({
      errno: "EIO",
      message: `odd: ${c} returned true, not one of none, emulate, native`,
    });
  });

  test("a client that asked for read-only never gets more", async () => {
    await using stack = await above(disk(), through, {}, { readonly: true });
    expect(await stack.next.canWrite()).toBe(false);
    expect(await stack.next.canFua()).toBe("none");
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(1), 0n, 0))).toBe("EINVAL");
  });
});

describe("FUA", () => {
  test("is a flush after the write where the plugin can only flush", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, { ...writes(calls), ...flushes(calls) }));
    await stack.next.pwrite(new Uint8Array(8), 16n, FLAG_FUA);
    expect(calls).toEqual(["pwrite 8 16 flags=0", "flush"]);
  });

  test("reaches a plugin that can do it, through filters", async () => {
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

  test("flushes a plugin that keeps flushes from clients", async () => {
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

  test("is refused where nothing can flush", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, writes(calls)));
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(8), 0n, FLAG_FUA))).toBe("EINVAL");
    expect(calls).toEqual([]);
  });

  test("fails where the flush fails", async () => {
    const flush = () => {
      throw new NbdError("ENOSPC", "no space");
    };
    await using stack = await overPlugin(plugin([], { ...writes([]), flush }));
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(8), 0n, FLAG_FUA))).toBe("ENOSPC");
  });
});

describe("zeroing", () => {
  test("writes where the plugin cannot zero, with one flush at the end", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, { ...writes(calls), ...flushes(calls) }));
    await stack.next.zero(512, 1024n, FLAG_MAY_TRIM | FLAG_FUA);
    expect(calls).toEqual(["pwrite 512 1024 flags=0", "flush"]);
  });

  test("goes on in steps of 64 MiB, each at its own offset", async () => {
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

  test("writes where zero says EOPNOTSUPP", async () => {
    const calls: string[] = [];
    const zero = () => {
      calls.push("zero");
      throw new NbdError("EOPNOTSUPP", "cannot");
    };
    await using stack = await overPlugin(plugin(calls, { ...writes(calls), zero }));
    await stack.next.zero(512, 0n, 0);
    expect(calls).toEqual(["zero", "pwrite 512 0 flags=0"]);
  });

  test("lets others have their turn between pieces of 64 MiB that are written at once", async () => {
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

  test("keeps other errors", async () => {
    const zero = () => {
      throw new NbdError("ENOSPC", "full");
    };
    await using stack = await overPlugin(plugin([], { ...writes([]), zero }));
    expect(await errnoOf(() => stack.next.zero(512, 0n, 0))).toBe("ENOSPC");
  });
});

describe("a plugin that says it can do what it has no method for", () => {
  const promises = {
    canWrite: () => true,
    canFlush: () => true,
    canTrim: () => true,
    canFua: () => "emulate",
  };

  test("fails as with nbdkit", async () => {
    await using stack = await overPlugin(plugin([], promises));
    const { next } = stack;
    expect(await errnoOf(() => next.pwrite(new Uint8Array(1), 0n, 0))).toBe("EROFS");
    expect(await errnoOf(() => next.flush(0))).toBe("EINVAL");
    expect(await errnoOf(() => next.trim(1, 0n, 0))).toBe("EINVAL");
    expect(() => next.trim(1, 0n, 0)).toThrow("small: the plugin has no trim");
  });

  test("fails where FUA needs a flush", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, { ...promises, ...writes(calls) }));
    expect(await errnoOf(() => stack.next.pwrite(new Uint8Array(1), 0n, FLAG_FUA))).toBe("EINVAL");
    expect(calls).toEqual(["pwrite 1 0 flags=0"]);
  });

  test("writes zeroes, and has no fast ones", async () => {
    const calls: string[] = [];
    const methods = { ...writes(calls), canZero: () => true, canFastZero: () => true };
    await using stack = await overPlugin(plugin(calls, methods));
    expect(await stack.next.canZero()).toBe("native");
    await stack.next.zero(512, 0n, 0);
    expect(calls).toEqual(["pwrite 512 0 flags=0"]);
    expect(await errnoOf(() => stack.next.zero(512, 0n, FLAG_FAST_ZERO))).toBe("EOPNOTSUPP");
  });
});

test("a layer that cannot zero has no fast way to do it", async () => {
  const cannot = defineFilter({ name: "no", canZero: () => "none", canFastZero: () => true });
  await using stack = await above(disk(), cannot);
  expect(await stack.next.canFastZero()).toBe(false);
});

test("zeroes that are written in pieces are flushed once, after the last one", async () => {
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
  test("reads where a layer says emulate", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, { canCache: () => "emulate" }));
    await stack.next.cache(100, 0n, 0);
    expect(calls).toEqual(["pread 100"]);
  });

  test("does nothing where the plugin says native without a callback", async () => {
    const calls: string[] = [];
    await using stack = await overPlugin(plugin(calls, { canCache: () => "native" }));
    await stack.next.cache(100, 0n, 0);
    expect(calls).toEqual([]);
  });
});

describe("what a layer throws", () => {
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

  test("an error passes through other layers unchanged", async () => {
    const fail = () => {
      throw new NbdError("ESTALE", "gone");
    };
    await using stack = await above(disk(), through, {}, { fail, below: [through] });
    expect(await errnoOf(() => stack.next.pread(new Uint8Array(1), 0n, 0))).toBe("ESTALE");
  });
});

test("what is like a promise is waited for, also where its then returns nothing", async () => {
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
    pread: (_handle: unknown, buf: Uint8Array) => soon(() => buf.fill(9)),
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

test("a connection that was closed answers no more", async () => {
  const stack = await above(disk(), through);
  await stack.next.getSize();
  await stack.close();
  expect(await errnoOf(() => stack.next.pread(new Uint8Array(1), 0n, 0))).toBe("EINVAL");
  expect(stack.calls).toEqual([]);
});
