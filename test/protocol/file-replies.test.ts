/** Large reads that the kernel sends from files: the right bytes, whatever the client and the file do. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { after, defineFilter, definePlugin, storage } from "#api";
import { bytes, type NbdClient, request } from "#test/client";
import { kernelHasCachestat } from "#test/kernel";

import type { ListenTarget } from "../../src/server/sockets.ts";
import { pattern, quiet, type Running, running, turns, until } from "./server-fixture.ts";

const [READ, WRITE] = [0, 1] as const;
const [EIO, DF] = [5, 4] as const;
const KiB = 1 << 10;
const MiB = 1 << 20;
const size = 4 * MiB + 1000;
const contents = pattern(size);

let logged: ReturnType<typeof quiet>;
let folder: string;
let image: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-test-"));
  image = join(folder, "disk");
});
beforeEach(() => {
  logged = quiet();
  writeFileSync(image, contents);
});
afterEach(() => {
  logged[Symbol.dispose]();
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const places: readonly { readonly kind: string; readonly listen: () => ListenTarget }[] = [
  { kind: "TCP", listen: () => ({ port: 0, address: "127.0.0.1" }) },
  { kind: "Unix", listen: () => ({ unix: join(folder, `${Bun.randomUUIDv7()}.sock`) }) },
];

interface Options {
  readonly listen?: ListenTarget;
  readonly filters?: readonly object[];
}

/** A plugin that serves the image and counts its reads. */
async function serving({ listen, filters }: Options = {}) {
  const through: string[] = [];
  const plugin = definePlugin({
    name: "image",
    open: () => openSync(image, "r+"),
    close: closeSync,
    getSize: () => BigInt(size),
    canWrite: () => true,
    canMultiConn: () => true,
    descriptor: (fd) => fd,
    pread(fd, buf, at) {
      through.push(`${buf.length} ${at}`);
      if (storage.preadSync(fd, buf, at) < buf.length) throw new Error("the image is too short");
    },
    pwrite(fd, buf, at) {
      storage.pwriteSync(fd, buf, at);
    },
  });
  const it: Running = await running({
    plugin: { canZero: undefined, canFua: undefined, extents: undefined, ...plugin },
    ...(listen === undefined ? {} : { listen }),
    ...(filters === undefined ? {} : { filters }),
  });
  return { ...it, through };
}

async function expectData(client: NbdClient, at: number, count: number): Promise<void> {
  const found = await client.take(count);
  expect(Buffer.compare(found, contents.subarray(at, at + count))).toBe(0);
}

function readsOf(ranges: readonly (readonly [number, number])[]): Uint8Array {
  const all = ranges.map(([at, count], i) =>
    request({ type: READ, cookie: BigInt(i), offset: BigInt(at), count }),
  );
  return bytes(...all);
}

const descriptors = () => readdirSync("/proc/self/fd").length;

describe.skipIf(!kernelHasCachestat).each(places)("$kind", ({ listen }) => {
  const ranges = [
    [0, 32 * KiB],
    [1, 65_537],
    [4 * MiB - 300_000, 301_000],
    [4095, 262_144],
    [12_345, 700_000],
    [0, MiB],
    [4097, 3 * MiB],
    [1000, 4 * MiB],
  ] as const;

  test("sends the right bytes from any offset, without a read", async () => {
    await using it = await serving({ listen: listen() });
    const { client } = await it.ready();
    client.send(readsOf(ranges));
    for (const [i, [at, count]] of ranges.entries()) {
      expect(await client.reply()).toEqual({ error: 0, cookie: BigInt(i) });
      await expectData(client, at, count);
    }
    expect(it.through).toEqual([]);
  });

  test("reads larger ranges", async () => {
    await using it = await serving({ listen: listen() });
    const { client } = await it.ready();
    client.send(readsOf([[3, 4 * MiB + 1]]));
    expect(await client.reply()).toEqual({ error: 0, cookie: 0n });
    await expectData(client, 3, 4 * MiB + 1);
    expect(it.through).toEqual([`${4 * MiB + 1} 3`]);
  });

  test("sends one chunk in a structured reply", async () => {
    await using it = await serving({ listen: listen() });
    const { client } = await it.structured();
    client.send(request({ type: READ, flags: DF, cookie: 5n, offset: 9n, count: 262_144 }));
    const { cookie, data, flags, type } = await client.chunk();
    expect({ cookie, flags, type }).toEqual({ cookie: 5n, flags: 1, type: 1 });
    expect(Buffer.compare(data.subarray(8), contents.subarray(9, 9 + 262_144))).toBe(0);
    expect(it.through).toEqual([]);
  });

  test("sends all replies to a client that takes them late", async () => {
    await using it = await serving({ listen: listen() });
    const { client } = await it.ready();
    client.pause();
    const many = Array.from({ length: 40 }, (_, i) => {
      const count = i % 3 === 0 ? 500 : 100_000 + i * 10_000;
      return [i * 50_001, count] as const;
    });
    client.send(readsOf(many));
    await turns(20);
    // Meanwhile another client is served.
    const { client: other } = await it.ready();
    expect((await other.ask({ type: READ, offset: 3n, count: 262_144 })).error).toBe(0);
    client.resume();
    const waiting = new Map(many.map((range, i) => [BigInt(i), range]));
    while (waiting.size > 0) {
      const { cookie, error } = await client.reply();
      const [at, count] = waiting.get(cookie) ?? [0, 0];
      waiting.delete(cookie);
      expect(error).toBe(0);
      await expectData(client, at, count);
    }
  });

  test("serves more clients than there are pipes, though none receives at first", async () => {
    const before = descriptors();
    await using it = await serving({ listen: listen() });
    const ranges5 = Array.from({ length: 12 }, (_, i) => [i * 999, 300_000] as const);
    const clients = await Promise.all(Array.from({ length: 40 }, () => it.ready()));
    for (const { client } of clients) {
      client.pause();
      client.send(readsOf(ranges5));
    }
    await turns(50);
    // Each client has three descriptors: both ends of its connection, and its image. There are at most 32 pipes.
    expect(descriptors() - before).toBeLessThan(40 * 3 + 2 * 32 + 10);
    for (const { client } of clients) client.resume();
    for (const { client } of clients) {
      for (let i = 0; i < ranges5.length; i++) {
        const { cookie, error } = await client.reply();
        expect(error).toBe(0);
        await expectData(client, Number(cookie) * 999, 300_000);
      }
    }
    // Few pipes are kept for reuse.
    expect(descriptors() - before).toBeLessThan(40 * 3 + 2 * 8 + 10);
  });

  test.each([{ ends: "the client leaves" }, { ends: "the server stops" }])(
    "keeps no pipe when $ends in the middle of a reply",
    async ({ ends }) => {
      await using it = await serving({ listen: listen() });
      const { client } = await it.ready();
      const before = descriptors();
      const rounds = 40;
      for (let i = 0; i < rounds; i++) {
        const { client: one } = await it.ready();
        one.pause();
        one.send(readsOf(Array.from({ length: 12 }, (_, n) => [n, 400_000] as const)));
        await until(() => it.server.heldBytes > 0);
        one.terminate();
        await until(() => it.server.connections === 1);
        expect(it.server.heldBytes).toBe(0);
      }
      expect(descriptors()).toBeLessThan(before + rounds);
      client.pause();
      client.send(readsOf(Array.from({ length: 12 }, (_, n) => [n, 400_000] as const)));
      await until(() => it.server.heldBytes > 0);
      if (ends === "the client leaves") client.terminate();
      else await it.server.stop();
      await until(() => it.server.connections === 0);
    },
  );
});

test.skipIf(!kernelHasCachestat)("a filter with a window is not called for reads", async () => {
  const moved = defineFilter({
    name: "moved",
    window: () => ({ offset: 5000n }),
  });
  await using it = await serving({ filters: [moved, moved] });
  const { client } = await it.ready();
  const { data } = await client.ask({ type: READ, offset: 7n, count: 100_000 });
  expect(Buffer.compare(data, contents.subarray(10_007, 110_007))).toBe(0);
  expect(it.through).toEqual([]);
});

test("a filter with its own pread gets all reads", async () => {
  const seen: string[] = [];
  const watch = defineFilter({
    name: "watch",
    pread(next, _handle, buf, at, flags) {
      seen.push(`${buf.length} ${at}`);
      return after(next.pread(buf, at, flags), () => void buf.fill(7, 0, 1));
    },
  });
  await using it = await serving({ filters: [watch] });
  const { client } = await it.ready();
  const { data } = await client.ask({ type: READ, offset: 7n, count: 100_000 });
  expect([data[0], data[1]]).toEqual([7, contents[8]]);
  expect({ seen, through: it.through }).toEqual({ seen: ["100000 7"], through: ["100000 7"] });
});

test("with -v the layers log every read", async () => {
  logged[Symbol.dispose]();
  logged = quiet(true);
  await using it = await serving();
  const { client } = await it.ready();
  expect((await client.ask({ type: READ, offset: 7n, count: 100_000 })).error).toBe(0);
  expect(it.through).toEqual(["100000 7"]);
  expect(logged.lines.filter((line) => line.includes("pread count=100000 offset=7"))).toHaveLength(
    1,
  );
});

test.skipIf(!kernelHasCachestat)(
  "a file that became shorter fails the read, not the connection",
  async () => {
    await using it = await serving();
    const { client } = await it.ready();
    truncateSync(image, MiB);
    expect((await client.ask({ type: READ, offset: BigInt(MiB - 5), count: 65_536 })).error).toBe(
      EIO,
    );
    expect(it.through).toEqual([`65536 ${MiB - 5}`]);
    const { data } = await client.ask({ type: READ, offset: 5n, count: 65_536 });
    expect(Buffer.compare(data, contents.subarray(5, 65_541))).toBe(0);
    expect(it.through).toHaveLength(1);
  },
);

test("a read returns what was written before", async () => {
  await using it = await serving();
  const { client } = await it.ready();
  for (let i = 0; i < 5; i++) {
    const payload = new Uint8Array(100_000).fill(i + 1);
    client.send(
      bytes(
        request({ type: WRITE, cookie: 1n, offset: 50n, payload }),
        request({ type: READ, cookie: 2n, offset: 50n, count: 100_000 }),
      ),
    );
    expect(await client.reply()).toEqual({ error: 0, cookie: 1n });
    expect(await client.reply()).toEqual({ error: 0, cookie: 2n });
    expect(Buffer.compare(await client.take(100_000), payload)).toBe(0);
  }
  expect(Buffer.compare(readFileSync(image).subarray(0, 50), contents.subarray(0, 50))).toBe(0);
});
