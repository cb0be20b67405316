/** How many requests run at once, depending on the thread model and -t. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { EXTENT_HOLE, EXTENT_ZERO } from "#api";
import { bytes, NbdClient, request } from "#test/client";

import type { Extents } from "../../src/lib/extents.ts";
import { Held, holding, quiet, running, turns, until } from "./server-fixture.ts";

const [READ, DISC, FLUSH, TRIM] = [0, 2, 3, 4] as const;
const MiB = 1 << 20;

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

describe("thread models", () => {
  test("serialize_requests runs one request at a time in each connection", async () => {
    const held = new Held();
    await using it = await running({ threadModel: "serialize_requests", plugin: holding(held) });
    const one = (await it.ready()).client;
    const two = (await it.ready()).client;
    for (const i of [1, 2, 3])
      one.request({ type: TRIM, cookie: BigInt(i), offset: BigInt(i), count: 1 });
    two.request({ type: TRIM, offset: 10n, count: 1 });
    await held.reached(2);
    await turns();
    expect(held.names.toSorted()).toEqual(["1", "10"]);
    for (const i of [1, 2, 3]) {
      held.release(`${i}`);
      expect((await one.reply()).cookie).toBe(BigInt(i));
      if (i < 3) await held.reached(2);
    }
    held.releaseAll();
    await two.reply();
  });

  test.each([
    ["-t 1", { policy: { threads: 1 } }],
    ["serialize_requests", { threadModel: "serialize_requests" }],
  ] as const)("%s: large replies do not overtake small ones", async (_name, options) => {
    const half = 64 << 10;
    const extents = (_h: object, _count: number, _at: bigint, _flags: number, list: Extents) => {
      list.add(0n, BigInt(half), 0);
      list.add(BigInt(half), BigInt(half), EXTENT_HOLE | EXTENT_ZERO);
    };
    await using it = await running({ ...options, size: 2 * half, plugin: { extents } });
    const { client } = await NbdClient.structured(it.target);
    const counts = [512, 2 * half, 512, 512, 2 * half, 512];
    // Sent in one go, so that the replies are gathered.
    client.send(
      bytes(...counts.map((count, i) => request({ type: READ, cookie: BigInt(i), count }))),
    );
    const order: bigint[] = [];
    while (order.length < counts.length) {
      const { cookie, flags } = await client.chunk();
      if (flags === 1) order.push(cookie);
    }
    expect(order).toEqual(counts.map((_count, i) => BigInt(i)));
    client.terminate();
  });

  test("serialize_all_requests runs one request at a time in all connections, in order of arrival", async () => {
    const held = new Held();
    await using it = await running({
      threadModel: "serialize_all_requests",
      plugin: holding(held),
    });
    const clients = [];
    for (let i = 0; i < 3; i++) clients.push((await it.ready()).client);
    for (const [i, client] of clients.entries()) {
      for (const j of [1, 2]) {
        client.request({ type: TRIM, cookie: BigInt(j), offset: BigInt(i * 10 + j), count: 1 });
      }
      if (i === 0) await held.reached(1);
      else await turns(5);
    }
    const order: string[] = [];
    for (let i = 0; i < 6; i++) {
      await held.reached(1);
      await turns(2);
      expect(held.names).toHaveLength(1);
      order.push(...held.names);
      held.releaseAll();
    }
    for (const client of clients)
      for (const j of [1n, 2n]) expect((await client.reply()).cookie).toBe(j);
    expect(order).toEqual(["1", "11", "21", "2", "12", "22"]);
  });

  test("serialize_all_requests makes open wait for requests, but does not delay those answered at once", async () => {
    const held = new Held();
    const opened: string[] = [];
    await using it = await running({
      threadModel: "serialize_all_requests",
      plugin: holding(held, {
        open: (_config: unknown, _readonly: boolean, name: string) => ({ nth: opened.push(name) }),
      }),
    });
    const one = (await it.ready("one")).client;
    one.request({ type: TRIM, offset: 1n, count: 1 });
    await held.reached(1);
    const second = it.ready("two");
    await turns();
    expect(opened).toEqual(["one"]);
    held.releaseAll();
    const two = (await second).client;
    expect(opened).toEqual(["one", "two"]);
    expect((await two.ask({ type: FLUSH })).error).toBe(0);
    await one.reply();
  });

  test("a client that takes no replies does not hold the shared lock", async () => {
    await using it = await running({
      size: 64 * MiB,
      threadModel: "serialize_all_requests",
      later: true,
    });
    const lazy = (await it.ready()).client;
    const other = (await it.ready()).client;
    lazy.pause();
    for (let i = 0; i < 4; i++) lazy.request({ type: READ, count: 16 * MiB });
    await until(() => it.calls.length > 0);
    for (let i = 0; i < 20; i++) expect((await other.ask({ type: FLUSH })).error).toBe(0);
  });

  test("serialize_connections greets the next client when the first has left", async () => {
    const events: string[] = [];
    await using it = await running({
      threadModel: "serialize_connections",
      plugin: {
        preconnect: () => void events.push("preconnect"),
        close: () => void events.push("close"),
      },
    });
    const one = (await it.ready()).client;
    const two = await it.connect();
    const gone = await it.connect();
    const three = await it.connect();
    await turns();
    expect(two.available + three.available).toBe(0);
    expect(events).toEqual(["preconnect"]);
    // A client that leaves while it waits takes no turn.
    gone.terminate();
    await until(() => it.server.connections === 3);
    one.request({ type: DISC });
    expect(await two.hello()).toBe(3);
    expect(events).toEqual(["preconnect", "close", "preconnect"]);
    expect(three.available).toBe(0);
    two.terminate();
    await three.hello();
  });
});
