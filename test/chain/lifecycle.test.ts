/** The order in which layers are called, as in nbdkit, and the state after a failure at each stage. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import { defineFilter, definePlugin, NbdError, type NextOpen, type ThreadModel } from "#api";
import { typescriptLayer } from "#modules/typescript";
import { above, clientOf, configuredChain } from "#test/chain";

import type { Chain } from "../../src/chain/chain.ts";
import { connectionInfo } from "../../src/chain/connection-info.ts";
import type { LayerContext } from "../../src/chain/layer.ts";

/** A filter and a plugin that write down their calls; `fail` names a call that throws. */
function layers(calls: string[], fail?: string) {
  const note = (name: string, call: string) => {
    calls.push(`${name} ${call}`);
    if (fail === `${name} ${call}`) throw new NbdError("EIO", "told to fail");
  };
  const filter = (name: string) =>
    defineFilter({
      name,
      load: () => note(name, "load"),
      unload: () => note(name, "unload"),
      config(next, _config, key, value) {
        note(name, `config ${key}`);
        return next(key, value);
      },
      configComplete(next) {
        note(name, "config_complete");
        return next();
      },
      getReady: () => note(name, "get_ready"),
      afterFork: () => note(name, "after_fork"),
      cleanup: () => note(name, "cleanup"),
      preconnect(next, _config, readonly) {
        note(name, "preconnect");
        return next(readonly);
      },
      async open(next, _config, readonly, exportName) {
        await next(readonly, exportName);
        note(name, "open");
        return {};
      },
      prepare: () => note(name, "prepare"),
      finalize: () => note(name, "finalize"),
      close: () => note(name, "close"),
    });
  const plugin = definePlugin({
    name: "p",
    load: () => note("p", "load"),
    unload: () => note("p", "unload"),
    config: (_config, key) => note("p", `config ${key}`),
    configComplete: () => note("p", "config_complete"),
    getReady: () => note("p", "get_ready"),
    afterFork: () => note("p", "after_fork"),
    cleanup: () => note("p", "cleanup"),
    preconnect: () => note("p", "preconnect"),
    open: () => {
      note("p", "open");
      return {};
    },
    close: () => note("p", "close"),
    getSize: () => 512n,
    pread: (_handle, buf) => void buf.fill(0),
  });
  return [
    typescriptLayer("filter", filter("a"), "a.ts"),
    typescriptLayer("filter", filter("b"), "b.ts"),
    typescriptLayer("plugin", plugin, "p.ts"),
  ];
}

const info = connectionInfo(1, "p[1]");

async function wholeLife(chain: Chain): Promise<void> {
  await chain.preconnect(info, false);
  const connection = chain.connect(info);
  await connection.open(false, "", false);
  await connection.close();
  await chain.cleanup();
  await chain.unload();
}

test("layers are called in nbdkit's order from load to unload", async () => {
  const calls: string[] = [];
  await wholeLife(await configuredChain(layers(calls), { k: "v" }));
  expect(calls).toEqual([
    ...["p load", "b load", "a load"],
    ...["a config k", "b config k", "p config k"],
    ...["a config_complete", "b config_complete", "p config_complete"],
    ...["p get_ready", "b get_ready", "a get_ready"],
    ...["p after_fork", "b after_fork", "a after_fork"],
    ...["a preconnect", "b preconnect", "p preconnect"],
    ...["p open", "b open", "a open"],
    ...["b prepare", "a prepare"],
    ...["a finalize", "b finalize"],
    ...["a close", "b close", "p close"],
    ...["a cleanup", "b cleanup", "p cleanup"],
    ...["p unload", "b unload", "a unload"],
  ]);
});

describe("a failure while opening closes what was opened", () => {
  test.each([
    { fail: "p open", then: [] },
    { fail: "b open", then: ["p close"] },
    { fail: "a open", then: ["b close", "p close"] },
    { fail: "b prepare", then: ["a close", "b close", "p close"] },
    { fail: "a prepare", then: ["b finalize", "a close", "b close", "p close"] },
  ])("$fail", async ({ fail, then }) => {
    const calls: string[] = [];
    const chain = await configuredChain(layers(calls, fail), {});
    const connection = chain.connect(info);
    await expect(connection.open(false, "", false)).rejects.toThrow("told to fail");
    expect(calls.slice(calls.indexOf(fail) + 1)).toEqual([...then]);
  });
});

describe("the layer that a filter opens below it", () => {
  /** Open the filter over a plugin that opens slowly, and may fail. */
  async function opened(open: OpenOf, fail = false, calls: string[] = []) {
    const plugin = definePlugin({
      name: "p",
      async open() {
        calls.push("open");
        await new Promise((resolve) => void setImmediate(resolve));
        if (fail) throw new NbdError("ENOENT", "not today");
        return {};
      },
      close: () => void calls.push("close"),
      getSize: () => 512n,
      pread() {},
    });
    const filter = defineFilter({ name: "f", open });
    const chain = await configuredChain(
      [typescriptLayer("filter", filter, "f.ts"), typescriptLayer("plugin", plugin, "p.ts")],
      {},
    );
    const connection = chain.connect(info);
    await connection.open(false, "", false);
    const size = await connection.top.getSize();
    await connection.close();
    return { calls, size };
  }
  type OpenOf = (next: NextOpen, config: object, readonly: boolean, name: string) => unknown;
  const well = { calls: ["open", "close"], size: 512n };

  test("is open after the filter's open, even if the filter does not wait", async () => {
    const open: OpenOf = (next, _config, readonly, name) => void next(readonly, name);
    expect(await opened(open)).toEqual(well);
    await expect(opened(open, true)).rejects.toThrow("not today");
  });

  test("may fail while the filter does something else", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    const open: OpenOf = async (next, _config, readonly, name) => {
      void next(readonly, name);
      for (const _ of Array(5)) await new Promise((resolve) => void setImmediate(resolve));
    };
    expect(await opened(open)).toEqual(well);
    await expect(opened(open, true)).rejects.toThrow("it is not open");
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });

  test("is closed if the filter fails meanwhile", async () => {
    for (const wait of [false, true]) {
      const calls: string[] = [];
      const open: OpenOf = (next, _config, readonly, name) => {
        void next(readonly, name);
        const failure = new NbdError("EACCES", "not for you");
        if (wait) return Promise.reject(failure);
        throw failure;
      };
      await expect(opened(open, false, calls)).rejects.toThrow("not for you");
      await expect(opened(open, true)).rejects.toThrow("not for you");
      expect(calls).toEqual(["open", "close"]);
    }
  });

  test("is opened once if the filter calls next twice at the same time", async () => {
    expect(
      await opened(async (next, _config, readonly, name) => {
        await Promise.all([next(readonly, name), next(readonly, name)]);
        await next(readonly, name);
      }),
    ).toEqual(well);
  });

  test("is opened again after a failure", async () => {
    const failures: unknown[] = [];
    const open: OpenOf = async (next, _config, readonly, name) => {
      for (const _ of [1, 2]) {
        try {
          await next(readonly, name);
        } catch (error) {
          failures.push(error);
        }
      }
    };
    await expect(opened(open, true)).rejects.toThrow("it is not open");
    expect(failures).toHaveLength(2);
  });
});

test("after a failing finalize or close, the other layers are still finalized and closed", async () => {
  for (const fail of ["a finalize", "a close"]) {
    const calls: string[] = [];
    const chain = await configuredChain(layers(calls, fail), {});
    const connection = chain.connect(info);
    await connection.open(false, "", false);
    await connection.close();
    expect(calls.slice(-5)).toEqual(["a finalize", "b finalize", "a close", "b close", "p close"]);
  }
});

test("after a failing cleanup or unload, the other layers are still called", async () => {
  for (const fail of ["a cleanup", "p unload"]) {
    const calls: string[] = [];
    const chain = await configuredChain(layers(calls, fail), {});
    await chain.cleanup();
    await chain.unload();
    expect(calls.slice(-6)).toEqual([
      ...["a cleanup", "b cleanup", "p cleanup"],
      ...["p unload", "b unload", "a unload"],
    ]);
  }
});

test("an error of node:fs in a life-cycle method names the method and the path", async () => {
  const getReady = () => void readFileSync("/nowhere/x");
  const filter = typescriptLayer("filter", { name: "f", getReady }, "f.ts");
  const chain = configuredChain([filter, ...layers([]).slice(2)], {});
  await expect(chain).rejects.toThrow(
    expect.objectContaining({ message: "f: getReady: /nowhere/x: No such file or directory" }),
  );
});

describe("a bug in a life-cycle method is reported with its place", () => {
  const bug = () => {
    throw new TypeError("a bug");
  };
  const later = () => Promise.reject(new TypeError("a bug"));
  test.each([
    { method: "config" },
    { method: "configComplete" },
    { method: "threadModel" },
    { method: "getReady" },
    { method: "afterFork" },
  ])("$method", async ({ method }) => {
    for (const body of [bug, later]) {
      const filter = typescriptLayer("filter", { name: "f", [method]: body }, "f.ts");
      // The layer above passes the call on, and is not named in the message.
      const chain = configuredChain([...layers([]).slice(0, 1), filter, ...layers([]).slice(2)], {
        k: "v",
      });
      await expect(chain).rejects.toThrow(
        `f: ${method} threw an unexpected exception: TypeError: a bug\n`,
      );
    }
  });
});

test("a connection that is closed twice closes its layers once", async () => {
  const calls: string[] = [];
  const chain = await configuredChain(layers(calls), {});
  const connection = chain.connect(info);
  await connection.open(false, "", false);
  await connection.close();
  await connection.close();
  expect(calls.filter((call) => call === "p close")).toEqual(["p close"]);
});

test("a filter cannot reopen a next that it has kept after the connection ended", async () => {
  const calls: string[] = [];
  const [, ...below] = layers(calls);
  let kept: LayerContext | undefined;
  const keeping = defineFilter({
    name: "keeping",
    // The cast shows methods that the type of TypeScript filters hides.
    prepare: (next) => void (kept = next as LayerContext),
  });
  const chain = await configuredChain([typescriptLayer("filter", keeping, "k.ts"), ...below], {});
  const connection = chain.connect(info);
  await connection.open(false, "", false);
  await kept?.reopen(false, "");
  await connection.close();
  calls.length = 0;
  const again = (async () => kept?.reopen(false, ""))();
  await expect(again).rejects.toThrow("was asked for open, but its connection is over");
  expect(calls).toEqual([]);
});

test("each connection has handles of its own", async () => {
  let opened = 0;
  const plugin = definePlugin({
    name: "counting",
    open: () => ({ number: ++opened }),
    getSize: (handle) => BigInt(handle.number),
    pread() {},
  });
  const chain = await configuredChain([typescriptLayer("plugin", plugin, "p.ts")], {});
  const first = chain.connect(info);
  const second = chain.connect(clientOf(chain, 2));
  await first.open(false, "", false);
  await second.open(false, "", false);
  expect([await first.top.getSize(), await second.top.getSize()]).toEqual([1n, 2n]);
});

test("a thread model that does not exist is refused", async () => {
  const odd = { name: "odd", threadModel: () => "some" };
  await expect(above(new Uint8Array(0), odd)).rejects.toThrow(
    'odd: threadModel returned "some" (a string): expected one of serialize_connections, ',
  );
});

test("a filter that is stacked twice has two configurations", async () => {
  const add = defineFilter({
    name: "add",
    configComplete(next) {
      return next();
    },
    async getSize(next) {
      return (await next.getSize()) + 1n;
    },
  });
  const chain = await configuredChain(
    [
      typescriptLayer("filter", add, "a.ts"),
      typescriptLayer("filter", add, "a.ts"),
      ...layers([]).slice(2),
    ],
    {},
  );
  const connection = chain.connect(info);
  await connection.open(false, "", false);
  expect(await connection.top.getSize()).toBe(514n);
});

describe("the thread model is the least of all layers'", () => {
  const filterOf = (model: ThreadModel) => defineFilter({ name: "f", threadModel: () => model });
  test.each([
    { models: [], least: "parallel" },
    { models: ["parallel"], least: "parallel" },
    { models: ["parallel", "serialize_requests"], least: "serialize_requests" },
    { models: ["serialize_connections", "serialize_requests"], least: "serialize_connections" },
  ] as const)("$models: $least", async ({ models, least }) => {
    const filters = models.map((model) => typescriptLayer("filter", filterOf(model), "f.ts"));
    const chain = await configuredChain([...filters, ...layers([]).slice(2)], {});
    expect(chain.threadModel).toBe(least);
  });
});

describe("objects that are not modules", () => {
  test.each([
    { exported: undefined, message: "no default export" },
    { exported: { name: "a b" }, message: 'filter.name ("a b") must be' },
    { exported: { name: "" }, message: "must be ASCII" },
    {
      exported: { kind: "plugin", name: "p" },
      message: "this is a plugin, but it was given as a filter",
    },
    {
      exported: { name: "f", load: 5 },
      message: "x.ts: filter.load is 5: expected a function",
    },
    {
      exported: { name: "f", canWrite: true },
      message: "x.ts: filter.canWrite is true: expected a function",
    },
    {
      exported: { name: "f", fillsReads: () => true },
      message: "expected true or false",
    },
  ])("$message", ({ exported, message }) => {
    expect(() => typescriptLayer("filter", exported, "x.ts")).toThrow(message);
  });

  test.each(["open", "getSize", "pread"])("a plugin without %s", (method) => {
    const plugin = { name: "p", open() {}, getSize() {}, pread() {}, [method]: undefined };
    expect(() => typescriptLayer("plugin", plugin, "x.ts")).toThrow(`must have a ${method} method`);
  });
});
