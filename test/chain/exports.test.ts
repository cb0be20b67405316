/** The exports that a chain offers, its default export, and the facts that layers get about their client. */
import { describe, expect, test } from "bun:test";

import { type Client, defineFilter, definePlugin, NbdError, type NextOpen } from "#api";
import { typescriptLayer } from "#modules/typescript";
import { clientOf, configuredChain, errnoOf } from "#test/chain";

import type { Chain } from "../../src/chain/chain.ts";

const minimal = definePlugin({
  name: "small",
  open: () => ({}),
  getSize: () => 512n,
  pread: (_handle, buf) => void buf.fill(7),
});

/** A chain of `filters`, outermost first, and a plugin with these methods besides the required ones. */
function chainOf(filters: readonly unknown[], plugin: object = {}): Promise<Chain> {
  return configuredChain(
    [
      ...filters.map((it) => typescriptLayer("filter", it, "f.ts")),
      typescriptLayer("plugin", { ...minimal, ...plugin }, "p.ts"),
    ],
    {},
  );
}

const namesOf = async (chain: Chain, client = clientOf(chain)) =>
  (await chain.listExports(client, false)).entries.map(({ name }) => name);

describe("the list of exports", () => {
  test("is the default export if no layer lists any", async () => {
    expect(await namesOf(await chainOf([defineFilter({ name: "f" })]))).toEqual([""]);
  });

  test("is the plugin's", async () => {
    const chain = await chainOf([defineFilter({ name: "f" })], {
      listExports: (...[, , , exports]: Parameters<NonNullable<typeof minimal.listExports>>) => {
        exports.add("a", "first");
        exports.add("b");
      },
    });
    const { entries } = await chain.listExports(clientOf(chain), true);
    expect(entries).toEqual([
      { name: "a", description: "first" },
      { name: "b", description: undefined },
    ]);
  });

  test("can be changed by filters, each with its own default", async () => {
    const outer = defineFilter({
      name: "outer",
      async listExports(next, _config, readonly, _isTls, exports) {
        await next(readonly, exports);
        exports.add("outer");
        exports.useDefault();
      },
      defaultExport: async (next, _config, readonly) => `<${await next(readonly)}>`,
    });
    const chain = await chainOf([outer, defineFilter({ name: "f" })], {
      listExports: (...[, , , exports]: Parameters<NonNullable<typeof minimal.listExports>>) =>
        exports.useDefault(),
      defaultExport: () => "disk",
    });
    expect(await namesOf(chain)).toEqual(["disk", "outer", "<disk>"]);
  });

  test("leaves out the default if there is none", async () => {
    expect(await namesOf(await chainOf([], { defaultExport: () => undefined }))).toEqual([]);
  });

  test("fails with the layer's error", async () => {
    const fails = (error: Error) => ({
      listExports: () => {
        throw error;
      },
    });
    const chain = await chainOf([], fails(new NbdError("ENOMEM", "none left")));
    expect(await errnoOf(() => namesOf(chain))).toBe("ENOMEM");
    const filter = defineFilter({
      name: "f",
      listExports: (next, _config, readonly, _isTls, exports) => next(readonly, exports),
    });
    const other = await chainOf([filter], fails(new NbdError("EPERM", "not for you")));
    expect(await errnoOf(() => namesOf(other))).toBe("EPERM");
  });
});

describe("the default export", () => {
  const open = (seen: string[], name: string) =>
    defineFilter({
      name,
      async open(next: NextOpen, _config, readonly, exportName) {
        seen.push(`${name} ${exportName}`);
        await next(readonly, exportName);
      },
    });

  test("replaces the empty name for each layer", async () => {
    const seen: string[] = [];
    const chain = await chainOf(
      [open(seen, "a"), { ...open(seen, "b"), defaultExport: () => "B" }],
      { defaultExport: () => "P" },
    );
    const client = clientOf(chain);
    const connection = chain.connect(client);
    await connection.open(false, "", false);
    await connection.close();
    expect(seen).toEqual(["a B", "b B"]);
    expect(await chain.defaultExport(client, false)).toBe("B");
    expect(client.exportName).toBe("B");
  });

  test("is resolved by every layer that gets the empty name", async () => {
    const seen: string[] = [];
    const eraser = defineFilter({
      name: "eraser",
      open: (next, _config, readonly) => next(readonly, ""),
    });
    const chain = await chainOf([eraser, open(seen, "b")], { defaultExport: () => "P" });
    const connection = chain.connect(clientOf(chain));
    await connection.open(false, "x", false);
    await connection.close();
    expect(seen).toEqual(["b P"]);
  });

  test("may be missing: then only named exports can be opened", async () => {
    const chain = await chainOf([], { defaultExport: () => undefined });
    const opened = (name: string) => chain.connect(clientOf(chain)).open(false, name, false);
    await expect(opened("")).rejects.toThrow('default export ("") not permitted');
    await opened("x");
  });

  test("is ignored if its name is too long", async () => {
    const chain = await chainOf([], { defaultExport: () => "x".repeat(4097) });
    expect(await chain.defaultExport(clientOf(chain), false)).toBeUndefined();
  });

  test("is asked once for a client, and again once it has TLS", async () => {
    const asked: unknown[] = [];
    const chain = await chainOf([defineFilter({ name: "f" })], {
      defaultExport: (_config: unknown, _readonly: boolean, isTls: boolean) => {
        asked.push(isTls);
        return isTls ? "secret" : "public";
      },
    });
    const client = clientOf(chain);
    const ask = () => chain.defaultExport(client, false);
    expect([await ask(), await ask()]).toEqual(["public", "public"]);
    client.isTls = true;
    expect([await ask(), await ask()]).toEqual(["secret", "secret"]);
    expect(await chain.defaultExport(clientOf(chain, 2), false)).toBe("public");
    expect(asked).toEqual([false, true, false]);
  });
});

test("every layer gets the client, even before it is opened", async () => {
  const seen: unknown[] = [];
  const note = (what: string, { id, exportName, isTls, peer }: Client) =>
    void seen.push([what, id, exportName, isTls, peer?.pid]);
  const filter = defineFilter({
    name: "f",
    preconnect(next, _config, readonly, client) {
      note("preconnect", client);
      return next(readonly);
    },
    listExports(next, _config, readonly, _isTls, exports, client) {
      note("list_exports", client);
      return next(readonly, exports);
    },
    async open(next, _config, readonly, exportName, _isTls, client) {
      note("open", client);
      await next(readonly, `${exportName} below`);
    },
  });
  const chain = await chainOf([filter], {
    preconnect: (_config: unknown, _readonly: boolean, client: Client) =>
      note("plugin preconnect", client),
    defaultExport: (_c: unknown, _readonly: boolean, _isTls: boolean, client: Client) => {
      note("plugin default_export", client);
      return "p";
    },
    open: (...args: [1, boolean, string, boolean, Client]) => {
      note("plugin open", args[4]);
      return {};
    },
  });
  const client = clientOf(chain, 7, { peer: { pid: 42, uid: 0, gid: 0 } });
  await chain.preconnect(client, false);
  await chain.listExports(client, false);
  const connection = chain.connect(client);
  await connection.open(false, "disk", true);
  await connection.close();
  expect(seen).toEqual([
    ["preconnect", 7, undefined, false, 42],
    ["plugin preconnect", 7, undefined, false, 42],
    ["list_exports", 7, undefined, false, 42],
    ["plugin default_export", 7, undefined, false, 42],
    ["open", 7, "disk", true, 42],
    ["plugin open", 7, "disk below", true, 42],
  ]);
});
