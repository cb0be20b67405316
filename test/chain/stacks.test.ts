/** Layers that reopen the layers below them, open them once more, or replace them. */
import { describe, expect, test } from "bun:test";

import { defineFilter, definePlugin, NbdError } from "#api";
import type { NextOps } from "#api/generated/methods.gen";
import { typescriptLayer } from "#modules/typescript";
import { clientOf, configuredChain, errnoOf } from "#test/chain";

import type { Layer, LayerContext, LayersBelow } from "../../src/chain/layer.ts";

/** A chain of a filter that exposes its context, another filter, and a plugin. All write down their calls. */
async function chainOf(
  fail: (call: string) => void = () => {},
  sizeOf: (handle: number) => number = (handle) => 512 * handle,
) {
  const calls: string[] = [];
  const contexts: LayerContext[] = [];
  let below: LayersBelow | undefined;
  const say = (call: string) => {
    calls.push(call);
    fail(call);
  };
  let handles = 0;
  const named = (name: string): Layer => ({
    kind: "filter",
    name,
    path: name,
    dumpFields: [],
    attach: (it) => {
      if (name === "outer") below = it;
    },
    async open(context, next, readonly, exportName) {
      if (name === "outer") contexts.push(context);
      say(`${name} open ${readonly} ${exportName}`);
      await next(readonly, exportName);
      return {};
    },
    prepare: () => say(`${name} prepare`),
    finalize: () => say(`${name} finalize`),
    close: () => say(`${name} close`),
  });
  const plugin = definePlugin({
    name: "p",
    open: (_config, readonly, exportName) => {
      handles++;
      say(`p open ${readonly} ${exportName}`);
      return handles;
    },
    close: (handle) => say(`p close ${handle}`),
    getSize: (handle) => BigInt(sizeOf(handle)),
    canWrite: () => true,
    pwrite: () => {},
    pread: (handle, buf) => void buf.fill(handle),
  });
  const chain = await configuredChain(
    [named("outer"), named("inner"), typescriptLayer("plugin", plugin, "p.ts")],
    {},
  );
  const client = clientOf(chain);
  const connection = chain.connect(client);
  /** The calls since the last time. */
  const said = () => calls.splice(0);
  return {
    chain,
    client,
    connection,
    said,
    context: (): LayerContext => {
      const context = contexts[0];
      if (context === undefined) throw new Error("nothing was opened");
      return context;
    },
    below: (): LayersBelow => {
      if (below === undefined) throw new Error("the layer was not attached");
      return below;
    },
    async opened(readonly = false) {
      await connection.open(readonly, "x", false);
      calls.length = 0;
      return connection.top;
    },
  };
}

async function byteOf(next: Pick<LayerContext, "pread">): Promise<number | undefined> {
  const buf = new Uint8Array(1);
  await next.pread(buf, 0n, 0);
  return buf[0];
}

describe("reopen", () => {
  test("closes and opens the layers below, and asks them anew", async () => {
    const it = await chainOf();
    await it.opened(true);
    const next = it.context().next as LayerContext;
    expect([await next.getSize(), await next.canWrite()]).toEqual([512n, false]);
    await next.reopen(false, "y");
    expect(it.said()).toEqual([
      "inner finalize",
      "inner close",
      "p close 1",
      "inner open false y",
      "p open false y",
      "inner prepare",
    ]);
    expect([await next.getSize(), await next.canWrite()]).toEqual([1024n, true]);
    expect(await byteOf(next)).toBe(2);
    await it.connection.close();
    expect(it.said()).toEqual([
      "outer finalize",
      "inner finalize",
      "outer close",
      "inner close",
      "p close 2",
    ]);
  });

  test("holds requests to the new size", async () => {
    const it = await chainOf(undefined, (handle) => 1024 / handle);
    await it.opened();
    const next = it.context().next as LayerContext;
    const last = () => errnoOf(() => next.pread(new Uint8Array(1), 1023n, 0));
    expect(await last()).toBe("no error");
    await next.reopen(false, "y");
    expect(await last()).toBe("EINVAL");
    await it.connection.close();
  });

  test("leaves the layers closed if it fails, and can be tried again", async () => {
    let broken = false;
    const it = await chainOf((call) => {
      if (broken && call.startsWith("p open")) throw new NbdError("EIO", "told to fail");
    });
    await it.opened();
    const next = it.context().next as LayerContext;
    broken = true;
    expect(await errnoOf(() => next.reopen(false, "y"))).toBe("EIO");
    expect(await errnoOf(() => byteOf(next))).toBe("EINVAL");
    broken = false;
    await next.reopen(false, "y");
    expect(await byteOf(next)).toBe(3);
    await it.connection.close();
  });

  test("closes the layers that it opened if prepare fails", async () => {
    let broken = false;
    const it = await chainOf((call) => {
      if (broken && call === "inner prepare") throw new NbdError("EIO", "told to fail");
    });
    await it.opened();
    const next = it.context().next as LayerContext;
    broken = true;
    expect(await errnoOf(() => next.reopen(false, "y"))).toBe("EIO");
    expect(it.said().slice(-2)).toEqual(["inner close", "p close 2"]);
    await it.connection.close();
    expect(it.said()).toEqual(["outer finalize", "outer close"]);
  });

  test("fails each time after finalize has failed", async () => {
    const it = await chainOf((call) => {
      if (call === "inner finalize") throw new NbdError("EIO", "told to fail");
    });
    await it.opened();
    const next = it.context().next as LayerContext;
    it.said();
    for (let i = 0; i < 3; i++) expect(await errnoOf(() => next.reopen(false, "y"))).toBe("EIO");
    // It is called once, and the layers stay as they were.
    expect(it.said()).toEqual(["inner finalize"]);
    await it.connection.close();
    expect(it.said()).toEqual(["outer finalize", "outer close", "inner close", "p close 1"]);
  });
});

describe("another stack", () => {
  test("is opened, prepared and closed apart from the first", async () => {
    const it = await chainOf();
    await it.opened();
    const other = await it.context().openNext(true, "z", false);
    expect(it.said()).toEqual(["inner open true z", "p open true z"]);
    expect(await errnoOf(() => byteOf(other))).toBe("EINVAL");
    await other.prepare();
    expect([await other.getSize(), await byteOf(other), await other.canWrite()]).toEqual([
      1024n,
      2,
      false,
    ]);
    expect(other.connection).toBe(it.client);
    await other.finalize();
    await other.close();
    expect(it.said()).toEqual(["inner prepare", "inner finalize", "inner close", "p close 2"]);
    expect(await byteOf(it.connection.top)).toBe(1);
    await it.connection.close();
  });

  test("may belong to no client, and gets the empty export name then", async () => {
    const it = await chainOf();
    const shared = await it.below().open(true, "", true);
    await shared.prepare();
    expect(it.said()).toEqual(["inner open true ", "p open true ", "inner prepare"]);
    const { id, logName, exportName } = shared.connection;
    expect({ id, logName, exportName }).toEqual({ id: 0, logName: "", exportName: undefined });
    await shared.finalize();
    await shared.close();
  });

  test("is closed if it cannot be opened", async () => {
    const it = await chainOf((call) => {
      if (call.startsWith("p open true")) throw new NbdError("EPERM", "told to fail");
    });
    await it.opened();
    expect(await errnoOf(() => it.context().openNext(true, "z", false))).toBe("EPERM");
    await it.connection.close();
  });

  test("reports a failing finalize after all layers have had their turn", async () => {
    const it = await chainOf((call) => {
      if (call === "inner finalize") throw new NbdError("EIO", "told to fail");
    });
    const shared = await it.below().open(false, "x", true);
    await shared.prepare();
    expect(await errnoOf(() => shared.finalize())).toBe("EIO");
    await shared.close();
    expect(it.said().slice(-3)).toEqual(["inner finalize", "inner close", "p close 1"]);
  });

  test("can replace the layers below", async () => {
    const it = await chainOf();
    const top = await it.opened();
    const context = it.context();
    const other = await context.openNext(false, "z", false);
    await other.prepare();
    const old = context.setNext(other);
    expect(await byteOf(top)).toBe(2);
    await old?.finalize();
    await old?.close();
    it.said();
    expect(await byteOf(top)).toBe(2);
    await it.connection.close();
    expect(it.said()).toEqual([
      "outer finalize",
      "inner finalize",
      "outer close",
      "inner close",
      "p close 2",
    ]);
  });

  test("replaces them for seams that are bound to a thread as well", async () => {
    const it = await chainOf();
    const top = await it.opened();
    const bound = it.context().bind("thread");
    const other = await bound.openNext(false, "z", false);
    await other.prepare();
    const old = bound.setNext(other);
    expect([await byteOf(bound), await byteOf(top)]).toEqual([2, 2]);
    expect(bound.next?.thread).toBe("thread");
    expect(it.context().next?.thread).toBeUndefined();
    await old?.finalize();
    await old?.close();
    await it.connection.close();
  });

  test("can be removed: requests fail, and the code that removed it closes it", async () => {
    const it = await chainOf();
    const top = await it.opened();
    const old = it.context().setNext(undefined);
    expect(await errnoOf(() => byteOf(top))).toBe("EIO");
    await it.connection.close();
    expect(it.said()).toEqual(["outer finalize", "outer close"]);
    await old?.finalize();
    await old?.close();
    expect(it.said()).toEqual(["inner finalize", "inner close", "p close 1"]);
  });
});

test.each([
  {
    gone: false,
    code: "EINVAL" as const,
    message: "p was asked for pread, but it is not prepared",
  },
  { gone: true, code: "ESHUTDOWN" as const, message: "" },
])(
  "a request to finalized layers fails, without a message if the client has left (gone=$gone)",
  async ({ gone, code, message }) => {
    let below: NextOps | undefined;
    let failure: unknown;
    const late = defineFilter({
      name: "late",
      prepare: (next) => void (below = next),
      // A thread of a C filter may do this, if nothing stops it before.
      async close() {
        failure = await Promise.try(() => below?.pread(new Uint8Array(1), 0n, 0)).catch(
          (error: unknown) => error,
        );
      },
    });
    const plugin = definePlugin({ name: "p", open: () => 1, getSize: () => 512n, pread: () => {} });
    const chain = await configuredChain(
      [typescriptLayer("filter", late, "late.ts"), typescriptLayer("plugin", plugin, "p.ts")],
      {},
    );
    const ending = new AbortController();
    const connection = chain.connect(clientOf(chain, 1, { ended: ending.signal }));
    await connection.open(false, "", false);
    if (gone) ending.abort("disconnected");
    await connection.close();
    expect(failure).toEqual(new NbdError(code, message));
  },
);
