/** Clients that leave or disconnect while their requests are in flight, and the limit of such requests. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { sleep } from "#api";
import { bytes, request } from "#test/client";

import type { ConnectionInfo } from "../../src/chain/layer.ts";
import { Held, quiet, running, turns, until } from "./server-fixture.ts";

const [READ, DISC, TRIM] = [0, 2, 4] as const;
const EINVAL = 22;
const ESHUTDOWN = 108;

let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

const trims = (held: Held) => ({
  trim: (_handle: unknown, _count: number, offset: bigint) => held.wait(`${offset}`),
});
const trim = (offset: number, fields: object = {}) =>
  request({ type: TRIM, cookie: BigInt(offset), offset: BigInt(offset), count: 1, ...fields });

describe("-t", () => {
  test("limits requests in flight in TypeScript layers", async () => {
    const held = new Held();
    await using it = await running({ policy: { threads: 2 }, plugin: trims(held) });
    const { client } = await it.ready();
    client.send(bytes(trim(1), trim(2), trim(3), trim(4)));
    await held.reached(2);
    await turns();
    expect(held.names).toEqual(["1", "2"]);
    held.release("2");
    expect((await client.reply()).cookie).toBe(2n);
    await held.reached(2);
    expect(held.names).toEqual(["1", "3"]);
    held.release("1");
    held.release("3");
    await held.reached(1);
    held.releaseAll();
    for (let i = 0; i < 3; i++) await client.reply();
  });

  test("of 1 keeps replies in request order, refused requests included", async () => {
    const held = new Held();
    await using it = await running({ policy: { threads: 1 }, plugin: trims(held) });
    const { client } = await it.ready();
    client.send(bytes(trim(1), trim(2, { count: 0 }), trim(3)));
    await held.reached(1);
    await turns();
    expect(held.names).toEqual(["1"]);
    expect(client.available).toBe(0);
    held.release("1");
    expect(await client.reply()).toEqual({ error: 0, cookie: 1n });
    expect(await client.reply()).toEqual({ error: EINVAL, cookie: 2n });
    await held.reached(1);
    held.release("3");
    expect(await client.reply()).toEqual({ error: 0, cookie: 3n });
  });
});

describe("a disconnect behind requests in flight", () => {
  test.each([
    { what: "serialize_all_requests", terms: { threadModel: "serialize_all_requests" as const } },
    { what: "serialize_requests", terms: { threadModel: "serialize_requests" as const } },
    { what: "-t 1", terms: { policy: { threads: 1 } } },
  ])("waits for its turn: $what", async ({ terms }) => {
    const held = new Held();
    let info: ConnectionInfo | undefined;
    await using it = await running({
      ...terms,
      plugin: trims(held),
      meets: (_when, connection) => void (info = connection),
    });
    const { client } = await it.ready();
    client.send(bytes(trim(1), trim(2), request({ type: DISC })));
    for (const cookie of [1, 2]) {
      await held.reached(1);
      await turns();
      // The layers' sleeps continue.
      expect(info?.ended.aborted).toBe(false);
      held.release(`${cookie}`);
      expect(await client.reply()).toEqual({ error: 0, cookie: BigInt(cookie) });
    }
    await client.closed;
    expect(info?.ended.reason).toBe("disconnected");
  });

  test("takes effect at once while one more request could run", async () => {
    const held = new Held();
    let info: ConnectionInfo | undefined;
    await using it = await running({
      plugin: trims(held),
      meets: (_when, connection) => void (info = connection),
    });
    const { client } = await it.ready();
    client.send(bytes(trim(1), request({ type: DISC })));
    await held.reached(1);
    await until(() => info?.ended.reason === "disconnected");
    held.release("1");
    expect(await client.reply()).toEqual({ error: 0, cookie: 1n });
    await client.closed;
  });
});

describe("a client that leaves while it is paused", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "nbdkit-test-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const forever = 2 ** 31 - 1;
  const reads = bytes(
    ...[1, 2, 3].map((i) => request({ type: READ, cookie: BigInt(i), count: 1 })),
  );

  /** A server whose only request sleeps, while the client has sent more. */
  async function asleep(unix: string) {
    let asked = 0;
    const it = await running({
      listen: { unix },
      threadModel: "serialize_all_requests",
      plugin: {
        open: (_config: object, _readonly: boolean, _name: string, _tls: boolean, client: object) =>
          client,
        pread: (client: ConnectionInfo) => {
          asked++;
          return sleep(forever, client.ended);
        },
      },
    });
    const { client } = await it.ready();
    client.send(reads);
    await until(() => asked === 1);
    await turns();
    return { it, client };
  }

  test("delays no other client", async () => {
    const { it, client } = await asleep(join(folder, "sock"));
    await using _ = it;
    client.terminate();
    await it.ready();
    await until(() => it.server.connections === 1);
  });

  test("gets its replies if it still reads", async () => {
    const { it, client } = await asleep(join(folder, "sock"));
    await using _ = it;
    client.shutdown();
    for (const cookie of [1n, 2n, 3n]) {
      expect(await client.reply()).toEqual({ error: ESHUTDOWN, cookie });
    }
    await client.closed;
  });
});
