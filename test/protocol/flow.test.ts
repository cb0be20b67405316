/** Many requests at once: order, thread models, bounded memory, and stopping. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ConfigError, type ThreadModel } from "#api";
import { bytes, infoPayload, NbdClient, option, request } from "#test/client";

import { Held, NbdError, pattern, quiet, running, turns, until } from "./server-fixture.ts";

const [READ, WRITE, DISC, FLUSH, TRIM] = [0, 1, 2, 3, 4] as const;
const ESHUTDOWN = 108;
const MiB = 1 << 20;

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

/** A plugin whose reads and trims wait; a held request is named after its offset. */
function holding(held: Held, extra: object = {}): object {
  return {
    pread: async (_handle: unknown, buf: Uint8Array, offset: bigint) => {
      await held.wait(`${offset}`);
      buf.fill(Number(offset % 251n));
    },
    trim: (_handle: unknown, _count: number, offset: bigint) => held.wait(`${offset}`),
    ...extra,
  };
}

describe("parallel", () => {
  test("replies leave in the order of the answers, with the right data", async () => {
    const held = new Held();
    await using it = await running({ size: MiB, plugin: holding(held) });
    const { client } = await it.ready();
    const counts = [512, 100_000, 1, 40_000];
    for (const [i, count] of counts.entries()) {
      client.request({ type: READ, cookie: BigInt(i), offset: BigInt(i + 1), count });
    }
    client.request({ type: FLUSH, cookie: 9n });
    expect(await client.reply()).toEqual({ error: 0, cookie: 9n });
    await held.reached(4);
    for (const i of [2, 0, 3, 1]) {
      held.release(`${i + 1}`);
      expect(await client.reply()).toEqual({ error: 0, cookie: BigInt(i) });
      const count = counts[i] ?? 0;
      expect(Buffer.compare(await client.take(count), new Uint8Array(count).fill(i + 1))).toBe(0);
    }
  });

  test("a reply that waits is not disturbed by those that do not", async () => {
    const held = new Held();
    await using it = await running({
      plugin: {
        pread: (_handle: unknown, buf: Uint8Array, offset: bigint) => {
          buf.fill(Number(offset));
          return offset % 3n === 0n ? held.wait(`${offset}`) : undefined;
        },
      },
    });
    const { client } = await it.ready();
    client.send(
      bytes(
        ...Array.from({ length: 100 }, (_, i) =>
          request({ type: READ, cookie: BigInt(i), offset: BigInt(i), count: 300 + i }),
        ),
      ),
    );
    const seen = new Set<number>();
    const check = async () => {
      const { cookie } = await client.reply();
      const at = Number(cookie);
      expect(await client.take(300 + at)).toEqual(new Uint8Array(300 + at).fill(at));
      seen.add(at);
    };
    for (let i = 0; i < 66; i++) await check();
    expect([...seen].every((at) => at % 3 !== 0)).toBe(true);
    held.releaseAll();
    for (let i = 0; i < 34; i++) await check();
    expect(seen.size).toBe(100);
  });

  test("a failure among many is told to its own request", async () => {
    const held = new Held();
    await using it = await running({ plugin: holding(held) });
    const { client } = await it.ready();
    for (const i of [1, 2]) {
      client.request({ type: READ, cookie: BigInt(i), offset: BigInt(i), count: 64 });
    }
    await held.reached(2);
    held.release("2", new NbdError("EIO", "broken"));
    expect(await client.reply()).toEqual({ error: 5, cookie: 2n });
    held.release("1");
    expect(await client.reply()).toEqual({ error: 0, cookie: 1n });
    expect(await client.take(64)).toEqual(new Uint8Array(64).fill(1));
  });

  test("at most 256 requests of a connection are in flight", async () => {
    const held = new Held();
    await using it = await running({ plugin: holding(held) });
    const { client } = await it.ready();
    client.send(
      bytes(
        ...Array.from({ length: 300 }, (_, i) =>
          request({ type: TRIM, cookie: BigInt(i), offset: BigInt(i), count: 1 }),
        ),
      ),
    );
    await held.reached(256);
    await turns();
    expect(held.names).toHaveLength(256);
    held.releaseAll();
    await held.reached(44);
    held.releaseAll();
    for (let i = 0; i < 300; i++) await client.reply();
  });

  test("at most 64 MiB of a connection are in flight", async () => {
    const held = new Held();
    await using it = await running({ size: 64 * MiB, plugin: holding(held) });
    const { client } = await it.ready();
    for (let i = 1; i <= 8; i++) {
      client.request({ type: READ, offset: BigInt(i), count: 24 * MiB });
    }
    await held.reached(2);
    await turns();
    expect(held.names).toEqual(["1", "2"]);
    client.terminate();
    await until(() => {
      held.releaseAll();
      return it.server.connections === 0;
    });
  });

  test("a connection that is gone ends when what is in flight has ended", async () => {
    const held = new Held();
    const events: string[] = [];
    await using it = await running({
      plugin: holding(held, { close: () => void events.push("close") }),
    });
    const { client } = await it.ready();
    client.request({ type: READ, offset: 1n, count: 1 });
    await held.reached(1);
    client.terminate();
    await turns();
    expect(events).toEqual([]);
    expect(it.server.connections).toBe(1);
    held.releaseAll();
    await until(() => it.server.connections === 0);
    expect(events).toEqual(["close"]);
  });
});

describe("bounded memory", () => {
  test.each([{ later: false }, { later: true }])(
    "of a client that takes no replies (later=$later)",
    async ({ later }) => {
      await using it = await running({ size: MiB, later });
      const { client } = await it.ready();
      client.pause();
      const count = 2000;
      const all = bytes(
        ...Array.from({ length: count }, (_, i) =>
          request({ type: READ, cookie: BigInt(i), count: 65536 }),
        ),
      );
      client.send(all);
      await client.sent();
      let most = 0;
      for (let i = 0; i < 50; i++) {
        await turns(1);
        most = Math.max(most, it.server.heldBytes);
      }
      expect(most).toBeGreaterThan(0);
      expect(most).toBeLessThan(later ? 20 * MiB : 2 * MiB);
      expect(it.calls.length).toBeLessThan(count);
      client.resume();
      const expected = it.disk.subarray(0, 65536);
      const seen = new Set<bigint>();
      for (let i = 0; i < count; i++) {
        seen.add((await client.reply()).cookie);
        expect(Buffer.compare(await client.take(65536), expected)).toBe(0);
      }
      expect(seen.size).toBe(count);
      expect(it.calls).toHaveLength(count);
    },
  );

  test.each([{ later: false }, { later: true }])(
    "all is answered to a client that sent its last request long before it reads (later=$later)",
    async ({ later }) => {
      await using it = await running({ size: MiB, later });
      const { client } = await it.ready();
      client.pause();
      const count = 500;
      client.send(
        bytes(...Array.from({ length: count }, () => request({ type: READ, count: 65536 }))),
      );
      await client.sent();
      client.shutdown();
      await turns(50);
      client.resume();
      await client.closed;
      expect(client.available).toBe(count * 65552);
      expect(it.server.connections).toBe(0);
    },
  );

  test("of a client that sends refused requests and takes no replies", async () => {
    await using it = await running();
    const { client } = await it.ready();
    client.pause();
    const part = bytes(...Array.from({ length: 4000 }, () => request({ type: 99 })));
    for (let i = 0; i < 40; i++) client.send(part);
    let most = 0;
    for (let i = 0; i < 50; i++) {
      await turns(1);
      most = Math.max(most, it.server.heldBytes);
    }
    expect(most).toBeLessThan(2 * MiB);
  });

  test("of a client that announces a write and sends nothing", async () => {
    await using it = await running({ size: 64 * MiB });
    const { client } = await it.ready();
    client.send(request({ type: WRITE, count: 64 * MiB, payload: new Uint8Array(1000) }));
    await client.sent();
    await until(() => it.server.heldBytes > 0);
    await turns();
    expect(it.server.heldBytes).toBeLessThan(2 * MiB);
  });

  test("of a client that sends options without reading", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    client.pause();
    client.send(new Uint8Array(8 * MiB));
    await client.closed;
    expect(it.server.heldBytes).toBeLessThan(MiB);
  });
});

describe("thread models", () => {
  test("serialize_requests: one at a time in each connection", async () => {
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

  test("serialize_all_requests: one at a time in all connections, in order of arrival", async () => {
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

  test("serialize_all_requests: opening waits for requests, and those that are answered at once are not held up", async () => {
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

  test("a client that takes no replies does not keep others from the shared lock", async () => {
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

  test("serialize_connections: the next client is greeted when the first has left", async () => {
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

  test("a model that goes up when a layer was opened lets the next client in", async () => {
    let model: ThreadModel = "serialize_connections";
    await using it = await running({ plugin: { threadModel: () => model } });
    const first = await it.connect();
    await first.hello();
    const second = await it.connect();
    await turns();
    expect(second.available).toBe(0);
    model = "parallel";
    await it.settle();
    await first.go();
    expect(await second.hello()).toBe(3);
  });
});

describe("stop", () => {
  test("closes idle clients, in transmission and in the handshake", async () => {
    const events: string[] = [];
    await using it = await running({ plugin: { close: () => void events.push("close") } });
    const idle = (await it.ready()).client;
    const greeted = await it.connect();
    await greeted.hello();
    const silent = await it.connect();
    await until(() => it.server.connections === 3);
    await it.server.stop();
    await Promise.all([idle.closed, greeted.closed, silent.closed]);
    expect(events).toEqual(["close"]);
    expect(it.server.connections).toBe(0);
    await expect(NbdClient.connect(it.target)).rejects.toThrow();
  });

  test("answers what is in flight, and refuses what comes later", async () => {
    const held = new Held();
    await using it = await running({ plugin: holding(held) });
    const { client } = await it.ready();
    client.request({ type: READ, cookie: 1n, offset: 5n, count: 10 });
    await held.reached(1);
    const stopped = it.server.stop();
    client.request({ type: READ, cookie: 2n, offset: 6n, count: 10 });
    expect(await client.reply()).toEqual({ error: ESHUTDOWN, cookie: 2n });
    held.release("5");
    expect(await client.reply()).toEqual({ error: 0, cookie: 1n });
    expect(await client.take(10)).toEqual(new Uint8Array(10).fill(5));
    await stopped;
    await client.closed;
  });

  test("refuses requests that wait for their turn", async () => {
    const held = new Held();
    await using it = await running({ threadModel: "serialize_requests", plugin: holding(held) });
    const { client } = await it.ready();
    for (const i of [1n, 2n, 3n]) client.request({ type: TRIM, cookie: i, offset: i, count: 1 });
    await held.reached(1);
    await turns(5);
    const stopped = it.server.stop();
    held.release("1");
    const replies = [await client.reply(), await client.reply(), await client.reply()];
    expect(replies.toSorted((a, b) => Number(a.cookie - b.cookie)).map((r) => r.error)).toEqual([
      0,
      ESHUTDOWN,
      ESHUTDOWN,
    ]);
    await stopped;
  });

  test("does not execute a write that has not come completely", async () => {
    await using it = await running();
    const { client } = await it.ready();
    client.send(request({ type: WRITE, count: 100, payload: new Uint8Array(50) }));
    await client.sent();
    await turns();
    await it.server.stop();
    await client.closed;
    expect(it.calls).toEqual([]);
  });

  test("lets go of clients that wait for a connection lock", async () => {
    await using it = await running({ threadModel: "serialize_connections" });
    await it.ready();
    const waiting = await it.connect();
    await until(() => it.server.connections === 2);
    await it.server.stop();
    await waiting.closed;
    expect(waiting.available).toBe(0);
  });

  test("waits for an open that is under way, and closes what it opened", async () => {
    const held = new Held();
    const events: string[] = [];
    await using it = await running({
      plugin: {
        open: () => held.wait("open").then(() => ({})),
        close: () => void events.push("close"),
      },
    });
    const client = await it.connect();
    await client.hello();
    const going = client.go().catch(() => "gone");
    await held.reached(1);
    const stopped = it.server.stop();
    await turns();
    held.releaseAll();
    await stopped;
    await going;
    expect(events).toEqual(["close"]);
  });

  test.each([{ ends: "the client leaves" }, { ends: "the server stops" }])(
    "opens nothing for options that wait when $ends",
    async ({ ends }) => {
      const held = new Held();
      let opened = 0;
      await using it = await running({
        plugin: { open: () => held.wait(`${++opened}`).then(() => ({})) },
      });
      const client = await it.connect();
      await client.hello();
      client.send(bytes(...Array.from({ length: 10 }, () => option(6, infoPayload("")))));
      await held.reached(1);
      const stopped = ends === "the server stops" ? it.server.stop() : undefined;
      if (stopped === undefined) client.terminate();
      await turns();
      held.releaseAll();
      await until(() => it.server.connections === 0 || held.names.length > 0);
      const more = held.names;
      while (it.server.connections > 0) {
        held.releaseAll();
        await turns(1);
      }
      await stopped;
      expect({ opened, more }).toEqual({ opened: 1, more: [] });
    },
  );

  test("gives up on a client that takes no replies", async () => {
    await using it = await running({ size: 16 * MiB });
    const { client } = await it.ready();
    client.pause();
    client.request({ type: READ, count: 16 * MiB });
    await until(() => it.calls.length === 1);
    await it.server.stop();
    expect(it.server.connections).toBe(0);
  });

  test.each([{ later: false }, { later: true }])(
    "gives up on a client that sends requests but takes no replies (later=$later)",
    async ({ later }) => {
      await using it = await running({ size: MiB, later });
      const { client } = await it.ready();
      client.pause();
      client.send(
        bytes(...Array.from({ length: 2000 }, () => request({ type: READ, count: 65536 }))),
      );
      await until(() => it.server.heldBytes > 2 * 65536);
      await it.server.stop();
      expect(it.server.connections).toBe(0);
      expect(it.calls.length).toBeLessThan(2000);
    },
  );
});

describe("listening", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "nbdkit-test-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test("on a Unix socket", async () => {
    const unix = join(folder, "sock");
    await using it = await running({ size: MiB, listen: { unix } });
    expect(it.server.addresses).toEqual([{ unix }]);
    const { client } = await it.ready();
    const { data } = await client.ask({ type: READ, count: MiB });
    expect(Buffer.compare(data, pattern(MiB))).toBe(0);
    await it.server.stop();
    await client.closed;
  });

  test("on all addresses of IPv4 and IPv6, with one port that the kernel chose", async () => {
    await using it = await running({ listen: { port: 0 } });
    const [address] = it.server.addresses;
    if (address === undefined || !("port" in address)) throw new Error("no port");
    expect(address.port).toBeGreaterThan(0);
    for (const host of ["127.0.0.1", "::1"]) {
      const { client } = await NbdClient.ready({ port: address.port, address: host });
      client.terminate();
    }
  });

  test("not on a path that exists", async () => {
    const unix = join(folder, "taken");
    writeFileSync(unix, "mine");
    const error = await running({ listen: { unix } }).catch((problem: unknown) => problem);
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toContain(`${unix}: cannot listen on this path: it exists already`);
    expect(existsSync(unix)).toBe(true);
  });

  test("on a path of 107 bytes, and not of 108", async () => {
    const path = (length: number) => join(folder, "x".repeat(length - folder.length - 1));
    await using it = await running({ listen: { unix: path(107) } });
    await it.ready();
    const error = await running({ listen: { unix: path(108) } }).catch(
      (problem: unknown) => problem,
    );
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toContain("may have 107 bytes, this one has 108");
  });

  test("not on a port that is taken, nor on a name that means nothing", async () => {
    await using it = await running();
    const [address] = it.server.addresses;
    if (address === undefined || !("port" in address)) throw new Error("no port");
    const taken = { port: address.port, address: "127.0.0.1" };
    await expect(running({ listen: taken })).rejects.toThrow(ConfigError);
    const nowhere = { port: 0, address: "no.such.host.invalid" };
    await expect(running({ listen: nowhere })).rejects.toThrow(ConfigError);
  });

  test("greets nobody before onBound has resolved", async () => {
    const held = new Held();
    const starting = running({
      listen: { unix: join(folder, "s") },
      onBound: () => held.wait("bound"),
    });
    await held.reached(1);
    const client = await NbdClient.connect({ unix: join(folder, "s") });
    await turns();
    expect(client.available).toBe(0);
    held.releaseAll();
    await using it = await starting;
    expect(await client.hello()).toBe(3);
    expect(it.server.connections).toBe(1);
    client.terminate();
    await until(() => it.server.connections === 0);
  });
});
