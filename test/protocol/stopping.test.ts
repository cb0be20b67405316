/** How a server stops, and where it listens. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ConfigError } from "#api";
import { bytes, infoPayload, NbdClient, option, request } from "#test/client";

import { Held, holding, pattern, quiet, running, turns, until } from "./server-fixture.ts";

const [READ, WRITE, TRIM] = [0, 1, 4] as const;
const ESHUTDOWN = 108;
const MiB = 1 << 20;

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
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

  test("answers requests in flight, and refuses later ones", async () => {
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

  test("does not run an incomplete write", async () => {
    await using it = await running();
    const { client } = await it.ready();
    client.send(request({ type: WRITE, count: 100, payload: new Uint8Array(50) }));
    await client.sent();
    await turns();
    await it.server.stop();
    await client.closed;
    expect(it.calls).toEqual([]);
  });

  test("disconnects clients that wait for the connection lock", async () => {
    await using it = await running({ threadModel: "serialize_connections" });
    await it.ready();
    const waiting = await it.connect();
    await until(() => it.server.connections === 2);
    await it.server.stop();
    await waiting.closed;
    expect(waiting.available).toBe(0);
  });

  test("waits for a running open, and closes its layers", async () => {
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
    "opens no layers for waiting options when $ends",
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

  test("on all IPv4 and IPv6 addresses, with one port that the kernel chose", async () => {
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

  test("on a path of 107 bytes, but not of 108", async () => {
    const path = (length: number) => join(folder, "x".repeat(length - folder.length - 1));
    await using it = await running({ listen: { unix: path(107) } });
    await it.ready();
    const error = await running({ listen: { unix: path(108) } }).catch(
      (problem: unknown) => problem,
    );
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toContain("may have 107 bytes, this one has 108");
  });

  test("not on a port in use, nor on an unknown name", async () => {
    await using it = await running();
    const [address] = it.server.addresses;
    if (address === undefined || !("port" in address)) throw new Error("no port");
    const taken = { port: address.port, address: "127.0.0.1" };
    await expect(running({ listen: taken })).rejects.toThrow(ConfigError);
    const nowhere = { port: 0, address: "no.such.host.invalid" };
    await expect(running({ listen: nowhere })).rejects.toThrow(ConfigError);
  });

  test("greets no client before onBound has resolved", async () => {
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
