/** Many requests at once: the order of their replies, and bounded memory. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";

import { bytes, request } from "#test/client";

import { Held, holding, NbdError, quiet, running, turns, until } from "./server-fixture.ts";

const [READ, WRITE, FLUSH, TRIM] = [0, 1, 3, 4] as const;
const MiB = 1 << 20;

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

describe("parallel requests", () => {
  test("are replied to in the order of the layers' answers, with the right data", async () => {
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

  test("later answers do not disturb replies that are sent meanwhile", async () => {
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

  test("an error goes to the request that failed", async () => {
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

  test("at most 256 are in flight per connection", async () => {
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

  test("at most 64 MiB are in flight per connection", async () => {
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

  test("a closed connection ends when its requests in flight have ended", async () => {
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

describe("memory is bounded", () => {
  test.each([{ later: false }, { later: true }])(
    "for a client that takes no replies (later=$later)",
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
    "for a client that reads long after its last request, and all replies arrive (later=$later)",
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

  test("for a client that sends refused requests and takes no replies", async () => {
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

  test("for a client that announces a write and sends no data", async () => {
    await using it = await running({ size: 64 * MiB });
    const { client } = await it.ready();
    client.send(request({ type: WRITE, count: 64 * MiB, payload: new Uint8Array(1000) }));
    await client.sent();
    await until(() => it.server.heldBytes > 0);
    await turns();
    expect(it.server.heldBytes).toBeLessThan(2 * MiB);
  });

  test("for a client that sends options without reading", async () => {
    await using it = await running();
    const client = await it.connect();
    await client.hello();
    client.pause();
    client.send(new Uint8Array(8 * MiB));
    await client.closed;
    expect(it.server.heldBytes).toBeLessThan(MiB);
  });
});
