/** A filter must await or return its calls of the layer below. Otherwise its request fails with the reason. */
import { describe, expect, spyOn, test } from "bun:test";

import { defineFilter, type Extents, NbdError, type NextOps } from "#api";
import { log } from "#lib/log";
import { typescriptLayer } from "#modules/typescript";
import { above, clientOf, errnoOf, mapOf, overPlugin } from "#test/chain";
import { compileModule, haveCompiler } from "#test/modules";
import { nativeLayer, nativeStack, scriptLayer } from "#test/native";

import { Chain } from "../../src/chain/chain.ts";
import { plugin, writes } from "./seam-fixture.ts";

const disk = () => Uint8Array.from({ length: 4096 }, (_, i) => i % 251);

/** The error of the call as text, or "no error". */
async function messageOf(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    return String(error);
  }
  return "no error";
}

const unfinished = (method: string, below = `next.${method}`) =>
  `NbdError: hasty: ${method} ended while its ${below} was still under way: await or return it`;

/** Filters that do not wait for the layer below: one with a plain function, one with an async function. */
function hasty(method: string, ask: (next: NextOps, ...rest: unknown[]) => unknown) {
  const now = (next: NextOps, _handle: unknown, ...rest: unknown[]): void => {
    void ask(next, ...rest);
  };
  const later = async (next: NextOps, _handle: unknown, ...rest: unknown[]): Promise<void> => {
    await Promise.resolve();
    void ask(next, ...rest);
  };
  return [
    { ...defineFilter({ name: "hasty" }), [method]: now },
    { ...defineFilter({ name: "hasty" }), [method]: later },
  ];
}

interface Case {
  readonly method: string;
  readonly ask: (next: NextOps, ...rest: never[]) => unknown;
  readonly request: (next: NextOps) => unknown;
}

const cases: readonly Case[] = [
  {
    method: "pread",
    ask: (next, buf: Uint8Array, offset: bigint) => next.pread(buf, offset, 0),
    request: (next) => next.pread(new Uint8Array(8), 8n, 0),
  },
  {
    method: "pwrite",
    ask: (next, buf: Uint8Array, offset: bigint) => next.pwrite(buf, offset, 0),
    request: (next) => next.pwrite(new Uint8Array(8), 8n, 0),
  },
  { method: "flush", ask: (next) => next.flush(0), request: (next) => next.flush(0) },
  {
    method: "trim",
    ask: (next, count: number, offset: bigint) => next.trim(count, offset, 0),
    request: (next) => next.trim(8, 8n, 0),
  },
  {
    method: "zero",
    ask: (next, count: number, offset: bigint) => next.zero(count, offset, 0),
    request: (next) => next.zero(8, 8n, 0),
  },
  {
    method: "cache",
    ask: (next, count: number, offset: bigint) => next.cache(count, offset, 0),
    request: (next) => next.cache(8, 8n, 0),
  },
];

describe("a request fails with EIO if its filter does not wait for the layer below", () => {
  for (const { method, ask, request } of cases) {
    test.each(["at once", "later"])(`${method}, answered %s`, async (when) => {
      const [now, later] = hasty(method, ask as (next: NextOps, ...rest: unknown[]) => unknown);
      const filter = when === "at once" ? now : later;
      await using stack = await above(disk(), filter, {}, { later: true });
      expect(await messageOf(() => request(stack.next))).toBe(unfinished(method));
      expect(await errnoOf(() => request(stack.next))).toBe("EIO");
    });
    test(`${method} over a layer that answers at once succeeds`, async () => {
      const filters = hasty(method, ask as (next: NextOps, ...rest: unknown[]) => unknown);
      for (const filter of filters) {
        await using stack = await above(disk(), filter);
        expect(await messageOf(() => request(stack.next))).toBe("no error");
      }
    });
  }

  test("extents", async () => {
    const filter = defineFilter({
      name: "hasty",
      extents(next, _handle, count, offset, flags, extents: Extents) {
        void next.extents(count, offset, flags, extents);
      },
    });
    await using stack = await above(disk(), filter, {}, { later: true });
    expect(await messageOf(() => mapOf(stack.next, 0n, 512))).toBe(unfinished("extents"));
  });

  test("a question", async () => {
    const slow = plugin([], { getSize: () => Promise.resolve(512n) });
    const filter = defineFilter({
      name: "hasty",
      getSize(next) {
        void next.getSize();
        return 1n;
      },
    });
    const chain = new Chain([
      typescriptLayer("filter", filter, "test"),
      typescriptLayer("plugin", slow, "test"),
    ]);
    const connection = chain.connect(clientOf(chain));
    await connection.open(false, "", false);
    expect(await messageOf(() => connection.top.getSize())).toBe(unfinished("getSize"));
    await connection.close();
  });
});

test("a finalize that does not wait is logged", async () => {
  using error = spyOn(log, "error").mockImplementation(() => {});
  const [filter] = hasty("finalize", (next) => next.flush(0));
  await using stack = await above(disk(), filter, {}, { later: true });
  await stack.next.pread(new Uint8Array(8), 0n, 0);
  await stack.close();
  // The flush was still completed before the layers were closed.
  expect(stack.calls).toEqual(["pread 8 0", "flush"]);
  const said = unfinished("finalize", "next.flush").replace("NbdError: ", "");
  expect(error.mock.calls).toEqual([[said, "disk[1]"]]);
});

describe("the memory of a request", () => {
  test("is not reused before the layer below has answered", async () => {
    const order: string[] = [];
    const slow = plugin([], {
      async pread(_handle: unknown, buf: Uint8Array) {
        await new Promise((resolve) => setImmediate(resolve));
        buf.fill(9);
        order.push("filled");
      },
    });
    const [filter] = hasty("pread", (next, buf) => next.pread(buf as Uint8Array, 0n, 0));
    const chain = new Chain([
      typescriptLayer("filter", filter, "test"),
      typescriptLayer("plugin", slow, "test"),
    ]);
    const connection = chain.connect(clientOf(chain));
    await connection.open(false, "", false);
    await errnoOf(() => connection.top.pread(new Uint8Array(8), 0n, 0));
    order.push("answered");
    expect(order).toEqual(["filled", "answered"]);
    await connection.close();
  });

  test("is not reused before that either if the filter throws", async () => {
    const order: string[] = [];
    const slow = plugin([], {
      async pread(_handle: unknown, _buf: Uint8Array, offset: bigint) {
        if (offset === 0n) throw new NbdError("ENXIO", "gone");
        await new Promise((resolve) => setImmediate(resolve));
        order.push("filled");
      },
    });
    const both = defineFilter({
      name: "both",
      async pread(next, _handle, buf, _offset, flags) {
        await Promise.all([next.pread(buf, 0n, flags), next.pread(buf, 8n, flags)]);
      },
    });
    const chain = new Chain([
      typescriptLayer("filter", both, "test"),
      typescriptLayer("plugin", slow, "test"),
    ]);
    const connection = chain.connect(clientOf(chain));
    await connection.open(false, "", false);
    expect(await errnoOf(() => connection.top.pread(new Uint8Array(8), 0n, 0))).toBe("ENXIO");
    order.push("answered");
    expect(order).toEqual(["filled", "answered"]);
    await connection.close();
  });
});

test("other requests succeed beside the one that does not wait", async () => {
  const filter = defineFilter({
    name: "hasty",
    pread(next, _handle, buf, offset, flags) {
      const done = next.pread(buf, offset, flags);
      return offset === 8n ? undefined : done;
    },
  });
  await using stack = await above(disk(), filter, {}, { later: true });
  const read = (offset: bigint) => errnoOf(() => stack.next.pread(new Uint8Array(8), offset, 0));
  const all = [0n, 8n, 16n, 8n, 24n].map(read);
  const expected = ["no error", "EIO", "no error", "EIO", "no error"];
  expect(await Promise.all(all)).toEqual(expected);
});

describe("next", () => {
  test("of a request that failed for this reason refuses calls", async () => {
    const said = Promise.withResolvers<string>();
    const filter = defineFilter({
      name: "late",
      async pread(next, _handle, buf, offset, flags) {
        const done = Promise.resolve(next.pread(buf, offset, flags));
        // This call begins after the first one was answered, when the request is over.
        void done.then(() => said.resolve(messageOf(() => next.pread(buf, offset, flags))));
      },
    });
    await using stack = await above(disk(), filter, {}, { later: true });
    expect(await errnoOf(() => stack.next.pread(new Uint8Array(8), 0n, 0))).toBe("EIO");
    expect(await said.promise).toBe(
      "NbdError: late: next.pread was called for a call that it had answered already: only the next of prepare is for that",
    );
  });

  test("of a query that failed for this reason asks for no other capability", async () => {
    const asked: string[] = [];
    const below = plugin([], {
      ...writes([]),
      zero: () => {},
      canZero: async () => {
        await new Promise((resolve) => void setImmediate(resolve));
        return true;
      },
      canFastZero: () => {
        asked.push("canFastZero");
        return true;
      },
    });
    const said = Promise.withResolvers<string>();
    const filter = defineFilter({
      name: "hasty",
      canZero: () => "native",
      canFastZero(next) {
        said.resolve(messageOf(() => next.canFastZero()));
        return true;
      },
    });
    const chain = new Chain([
      typescriptLayer("filter", filter, "test"),
      typescriptLayer("plugin", below, "test"),
    ]);
    const connection = chain.connect(clientOf(chain));
    await connection.open(false, "", false);
    expect(await messageOf(() => connection.top.canFastZero())).toBe(
      unfinished("canFastZero", "next.canZero"),
    );
    expect(await said.promise).toInclude("next.can_fast_zero was called for a call that");
    await connection.close();
    expect(asked).toEqual([]);
  });

  test("of prepare can be used outside requests", async () => {
    const ahead: Promise<void>[] = [];
    const filter = defineFilter({
      name: "ahead",
      open: async (next, _config, readonly, exportName) => {
        await next(readonly, exportName);
        return { next: undefined as NextOps | undefined };
      },
      prepare(next, handle) {
        handle.next = next;
      },
      async pread(next, handle, buf, offset, flags) {
        await next.pread(buf, offset, flags);
        ahead.push(Promise.resolve(handle.next?.pread(new Uint8Array(8), offset + 8n, 0)));
      },
    });
    await using stack = await above(disk(), filter, {}, { later: true });
    await stack.next.pread(new Uint8Array(8), 0n, 0);
    await stack.next.pread(new Uint8Array(8), 8n, 0);
    await Promise.all(ahead);
    expect(stack.calls).toEqual(["pread 8 0", "pread 8 8", "pread 8 8", "pread 8 16"]);
  });

  test("of prepare delays the close of the layer below until its calls are answered", async () => {
    for (const fails of [false, true]) {
      const events: string[] = [];
      const below = plugin([], {
        pread: async () => {
          await new Promise((resolve) => void setImmediate(resolve));
          events.push("pread");
        },
        close: () => void events.push("close"),
      });
      const filter = defineFilter({
        name: "ahead",
        prepare(next) {
          void next.pread(new Uint8Array(8), 0n, 0);
          if (fails) throw new NbdError("EIO", "told to fail");
        },
      });
      const chain = new Chain([
        typescriptLayer("filter", filter, "test"),
        typescriptLayer("plugin", below, "test"),
      ]);
      await chain.configComplete();
      await chain.getReady();
      const connection = chain.connect(clientOf(chain));
      const opened = connection.open(false, "", false);
      if (fails) await expect(opened).rejects.toThrow("told to fail");
      else await opened;
      await connection.close();
      expect(events).toEqual(["pread", "close"]);
    }
  });

  test("a filter may wait for several calls in any order", async () => {
    const filter = defineFilter({
      name: "both",
      async pread(next, _handle, buf, offset, flags) {
        const half = buf.length / 2;
        await Promise.all([
          next.pread(buf.subarray(0, half), offset, flags),
          next.pread(buf.subarray(half), offset + BigInt(half), flags),
        ]);
      },
    });
    await using stack = await above(disk(), filter, {}, { later: true, below: [filter] });
    const buf = new Uint8Array(8);
    await stack.next.pread(buf, 8n, 0);
    expect(buf).toEqual(disk().subarray(8, 16));
  });
});

describe("a next that is a function", () => {
  const slow = (method: string) => ({
    ...plugin([]),
    [method]: () => Promise.resolve(),
  });
  const says = (method: string) =>
    `hasty: ${method} ended while its next was still under way: await or return it`;

  test("config", async () => {
    const filter = defineFilter({ name: "hasty", config: (next, _c, k, v) => void next(k, v) });
    const chain = new Chain([
      typescriptLayer("filter", filter, "test"),
      typescriptLayer("plugin", slow("config"), "test"),
    ]);
    expect(await messageOf(() => chain.config("a", "b"))).toContain(says("config"));
  });

  test("configComplete", async () => {
    const filter = defineFilter({ name: "hasty", configComplete: (next) => void next() });
    const chain = new Chain([
      typescriptLayer("filter", filter, "test"),
      typescriptLayer("plugin", slow("configComplete"), "test"),
    ]);
    expect(await messageOf(() => chain.configComplete())).toContain(says("configComplete"));
  });

  test.each(["preconnect", "listExports", "defaultExport"] as const)("%s", async (method) => {
    const hurried = {
      ...defineFilter({ name: "hasty" }),
      [method]: (next: (...given: unknown[]) => unknown, _config: unknown, ...rest: unknown[]) => {
        void next(rest[0], rest[2]);
        return method === "defaultExport" ? "" : undefined;
      },
    };
    const chain = new Chain([
      typescriptLayer("filter", hurried, "test"),
      typescriptLayer("plugin", slow(method), "test"),
    ]);
    const client = clientOf(chain);
    expect(await messageOf(() => chain[method](client, false))).toContain(says(method));
  });
});

describe("answers", () => {
  const wrong: readonly { readonly answer: unknown; readonly shown: string }[] = [
    { answer: 42, shown: "42" },
    { answer: 0, shown: "0" },
    { answer: false, shown: "false" },
    { answer: null, shown: "null" },
    { answer: "done", shown: '"done"' },
    { answer: new Uint8Array(8), shown: "an object (Uint8Array)" },
  ];
  test.each(wrong)("$shown is refused, at once and later", async ({ answer, shown }) => {
    for (const method of ["pread", "pwrite", "flush", "trim", "zero", "cache", "extents"]) {
      for (const given of [answer, Promise.resolve(answer)]) {
        const it = plugin([], {
          pwrite() {},
          flush() {},
          trim() {},
          zero() {},
          cache() {},
          extents() {},
          [method]: () => given,
        });
        await using stack = await overPlugin(it);
        const { next } = stack;
        const requests: Readonly<Record<string, () => unknown>> = {
          extents: () => mapOf(next, 0n, 8),
        };
        const request = requests[method] ?? cases.find((one) => one.method === method)?.request;
        expect(await messageOf(() => request?.(next))).toBe(
          `NbdError: small: ${method} returned ${shown}: expected undefined or a promise of it`,
        );
      }
    }
  });
});

describe.skipIf(!haveCompiler)("beside layers in C (needs cc)", () => {
  const [filter] = hasty("pread", (next, buf) => next.pread(buf as Uint8Array, 0n, 0));
  const xor = async () => nativeLayer("filter", await compileModule("examples/xor/xor.c"));

  test("below a C filter, the request fails with EIO", async () => {
    const layers = [await xor(), scriptLayer("filter", filter)];
    await using stack = await nativeStack(layers, { "xor-key": "90" }, { later: true });
    const { top } = await stack.connect();
    // C gets only the errno. The message is in the log.
    expect(await errnoOf(() => top.pread(new Uint8Array(8), 0n, 0))).toBe("EIO");
  });

  test("above a C filter, the request fails with the reason", async () => {
    const layers = [scriptLayer("filter", filter), await xor()];
    await using stack = await nativeStack(layers, { "xor-key": "90" });
    const { top } = await stack.connect();
    expect(await messageOf(() => top.pread(new Uint8Array(8), 0n, 0))).toBe(unfinished("pread"));
  });
});
