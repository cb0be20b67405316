/** Large writes over real sockets, whose data is received without Bun: none is lost, swapped or half written. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { bytes, infoPayload, type NbdClient, option, request } from "#test/client";

import type { ListenTarget } from "../../src/server/sockets.ts";
import { Held, pattern, quiet, running, turns, until } from "./server-fixture.ts";

const [READ, WRITE, DISC, FLUSH] = [0, 1, 2, 3] as const;
const EROFS_AS_SEEN = 1;
const MiB = 1 << 20;
const size = 16 * MiB;

let logged: ReturnType<typeof quiet>;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-test-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  logged = quiet();
});
afterEach(() => {
  logged[Symbol.dispose]();
});

const places: readonly { readonly kind: string; readonly listen: () => ListenTarget }[] = [
  { kind: "TCP", listen: () => ({ port: 0, address: "127.0.0.1" }) },
  { kind: "Unix", listen: () => ({ unix: join(folder, `${Bun.randomUUIDv7()}.sock`) }) },
];

/** Bytes that differ for each offset and request. */
function payloadOf(length: number, salt: number): Uint8Array {
  return pattern(length + salt).subarray(salt);
}

async function repliesOf(client: NbdClient, count: number): Promise<Map<bigint, number>> {
  const replies = new Map<bigint, number>();
  while (replies.size < count) {
    const { cookie, error } = await client.reply();
    replies.set(cookie, error);
  }
  return replies;
}

describe.each(places)("$kind", ({ listen }) => {
  test.each([{ later: false }, { later: true }])(
    "arrive intact, with small requests in between, answered later=$later",
    async ({ later }) => {
      await using it = await running({ size, later, listen: listen() });
      const { client } = await it.ready();
      const expected = it.disk.slice();
      const lengths = [MiB, 65536, 300_000, 65535, 5, 262_144, 262_144, 262_144, 2 * MiB, 100_001];
      const requests: Uint8Array[] = [];
      let offset = 0;
      for (const [i, length] of lengths.entries()) {
        const payload = payloadOf(length, i * 13 + 1);
        expected.set(payload, offset);
        requests.push(
          request({ type: WRITE, cookie: BigInt(2 * i), offset: BigInt(offset), payload }),
        );
        requests.push(request({ type: FLUSH, cookie: BigInt(2 * i + 1) }));
        offset += length;
      }
      client.send(bytes(...requests));
      const replies = await repliesOf(client, 2 * lengths.length);
      expect([...replies.values()].every((error) => error === 0)).toBe(true);
      expect(Buffer.compare(it.disk, expected)).toBe(0);
      const { data } = await client.ask({ type: READ, offset: 3n, count: offset });
      expect(Buffer.compare(data, expected.subarray(3, 3 + offset))).toBe(0);
    },
  );

  test("arrive intact if they begin before the export is open", async () => {
    const held = new Held();
    const open = () => held.wait("open").then(() => ({}));
    await using it = await running({ size, listen: listen(), plugin: { open } });
    const client = await it.connect();
    await client.hello();
    client.send(option(7, infoPayload("")));
    await held.reached(1);
    const payload = payloadOf(4 * MiB, 5);
    const sent = bytes(request({ type: WRITE, cookie: 7n, payload }), request({ type: DISC }));
    // The data comes in pieces: Bun delivers some, and the rest waits in the kernel and in the client.
    for (let at = 0; at < sent.length; at += 10_000) {
      client.send(sent.subarray(at, at + 10_000));
      if (at < 100_000) await turns(1);
    }
    held.releaseAll();
    while ((await client.optionReply()).type !== 1);
    expect(await client.reply()).toEqual({ error: 0, cookie: 7n });
    expect(Buffer.compare(it.disk.subarray(0, payload.length), payload)).toBe(0);
    await client.closed;
  });

  test("of several clients keep their own data", async () => {
    await using it = await running({ size, listen: listen() });
    const writing = [0, 1, 2, 3].map(async (n) => {
      const { client } = await it.ready();
      const payload = payloadOf(MiB, n + 1);
      for (let i = 0; i < 4; i++) {
        const offset = BigInt((4 * n + i) * MiB);
        client.send(request({ type: WRITE, cookie: BigInt(i), offset, payload }));
      }
      const replies = await repliesOf(client, 4);
      expect([...replies.values()]).toEqual([0, 0, 0, 0]);
    });
    await Promise.all(writing);
    for (let i = 0; i < 16; i++) {
      const found = it.disk.subarray(i * MiB, (i + 1) * MiB);
      expect(Buffer.compare(found, payloadOf(MiB, (i >> 2) + 1))).toBe(0);
    }
  });

  test.each([{ ends: "the client leaves" }, { ends: "the server stops" }])(
    "do not run if $ends before they are complete",
    async ({ ends }) => {
      await using it = await running({ size, listen: listen() });
      const { client } = await it.ready();
      const payload = payloadOf(3 * MiB, 1);
      client.send(request({ type: WRITE, cookie: 1n, count: 4 * MiB, payload }));
      await client.sent();
      await until(() => it.server.heldBytes > 3 * MiB);
      if (ends === "the client leaves") client.terminate();
      else await it.server.stop();
      await until(() => it.server.connections === 0);
      expect(it.calls).toEqual([]);
    },
  );

  test("are skipped if refused, and the next request is read correctly", async () => {
    await using it = await running({ size, policy: { readonly: true }, listen: listen() });
    const { client } = await it.ready();
    const payload = payloadOf(2 * MiB, 1);
    for (let i = 0; i < 4; i++) client.send(request({ type: WRITE, cookie: BigInt(i), payload }));
    const replies = await repliesOf(client, 4);
    expect([...replies.values()]).toEqual(Array(4).fill(EROFS_AS_SEEN));
    const { data } = await client.ask({ type: READ, offset: 9n, count: 4096 });
    expect(Buffer.compare(data, it.disk.subarray(9, 9 + 4096))).toBe(0);
    expect(it.calls).toEqual(["pread 4096 9"]);
  });
});
