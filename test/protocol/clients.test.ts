/** What layers know of a client, how they learn that it left, and how they disconnect it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";

import { infoPayload, NbdClient, request } from "#test/client";

import type { ConnectionInfo } from "../../src/chain/layer.ts";
import {
  type FixtureOptions,
  Held,
  quiet,
  type Running,
  running,
  until,
} from "./server-fixture.ts";

const [READ, WRITE, DISC, FLUSH] = [0, 1, 2, 3] as const;
const ESHUTDOWN = 108;
const localAddresses = new Set(
  Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address) ?? []),
);

let folder = "";
let logged: ReturnType<typeof quiet>;
beforeEach(() => {
  logged = quiet();
  folder = mkdtempSync(join(tmpdir(), "nbdkit-test-"));
});
afterEach(() => {
  logged[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** A server, and what its layers know of each client, in the order of their `open`. */
async function met(
  options: FixtureOptions = {},
): Promise<{ it: Running; infos: ConnectionInfo[] }> {
  const infos: ConnectionInfo[] = [];
  const it = await running({
    ...options,
    meets: (when, info) => {
      if (when === "open") infos.push(info);
    },
  });
  return { it, infos };
}

function first<T>(list: readonly T[]): T {
  const [one] = list;
  if (one === undefined) throw new Error("there is none");
  return one;
}

describe("layers know", () => {
  test("the process behind a Unix socket", async () => {
    const { it, infos } = await met({ listen: { unix: join(folder, "sock") } });
    await using _ = it;
    await it.ready();
    const { peer, peerName } = first(infos);
    expect(peer).toEqual({
      pid: process.pid,
      uid: process.getuid?.() ?? -1,
      gid: process.getgid?.() ?? -1,
    });
    // The client's socket is AF_UNIX without a path, as usual.
    expect(peerName).toEqual(new Uint8Array(new Uint16Array([1]).buffer));
  });

  const internet = [
    { address: "127.0.0.1", family: 2, bytes: 16, at: 4, ip: "127.0.0.1" },
    { address: "::1", family: 10, bytes: 28, at: 8, ip: "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1" },
  ].filter(({ address }) => localAddresses.has(address));
  test.each(internet)("the address of a client of $address", async (of) => {
    const { address, family, bytes, at, ip } = of;
    const { it, infos } = await met({ listen: { port: 0, address } });
    await using _ = it;
    await using client = await NbdClient.connect({ ...it.target, address });
    await client.hello();
    await client.go();
    const { peer, peerName = new Uint8Array(0) } = first(infos);
    expect(peer).toBeUndefined();
    expect(peerName).toHaveLength(bytes);
    expect(new Uint16Array(peerName.buffer, peerName.byteOffset, 1)[0]).toBe(family);
    expect(peerName.subarray(at, at + ip.split(".").length).join(".")).toBe(ip);
  });

  test("its number, its log name and the export it requested", async () => {
    const names: unknown[] = [];
    await using it = await running({
      meets: (when, { id, logName, exportName, isTls }) => {
        names.push([when, id, logName, exportName, isTls]);
      },
    });
    const client = await it.connect();
    await client.hello();
    await client.option(6, infoPayload("one"));
    await client.go("two");
    await it.ready("");
    expect(names).toEqual([
      ["preconnect", 1, "disk[1]", undefined, false],
      ["open", 1, "disk[1]", "one", false],
      ["open", 1, "disk[1]", "two", false],
      ["preconnect", 2, "disk[2]", undefined, false],
      ["open", 2, "disk[2]", "", false],
    ]);
  });
});

describe("the signal of a connection fires", () => {
  test.each(["DISC", "FIN", "RST", "nonsense"])("after %s", async (how) => {
    const held = new Held();
    const plugin = { pread: () => held.wait("read") };
    const { it, infos } = await met({ plugin });
    await using _ = it;
    const { client } = await it.ready();
    client.request({ type: READ, count: 1 });
    await held.reached(1);
    const { ended } = first(infos);
    expect(ended.aborted).toBe(false);
    if (how === "DISC") client.request({ type: DISC });
    else if (how === "FIN") client.shutdown();
    else if (how === "RST") client.terminate();
    else client.request({ type: READ, magic: 1 });
    await until(() => ended.aborted);
    held.releaseAll();
    await client.closed;
  });

  test("when the server stops, and requests that wait for it are answered", async () => {
    const ends: ConnectionInfo[] = [];
    const plugin = {
      flush: () =>
        new Promise<void>((resolve) => {
          first(ends).ended.addEventListener("abort", () => resolve());
        }),
    };
    await using it = await running({ plugin, meets: (_when, info) => void ends.push(info) });
    const { client } = await it.ready();
    client.request({ type: FLUSH, cookie: 5n });
    client.request({ type: READ, count: 1, cookie: 6n });
    const read = await client.reply();
    expect(read.cookie).toBe(6n);
    await client.take(1);
    await it.server.stop();
    expect(await client.reply()).toEqual({ error: 0, cookie: 5n });
    await client.closed;
  });

  test("during the handshake", async () => {
    let ended: AbortSignal | undefined;
    const opening = Promise.withResolvers<void>();
    const plugin = { open: () => opening.promise.then(() => ({})) };
    await using it = await running({ plugin, meets: (_when, info) => (ended = info.ended) });
    const client = await it.connect();
    await client.hello();
    client.send(new Uint8Array(0));
    const going = client.go().catch(() => {});
    await until(() => ended !== undefined);
    client.terminate();
    await until(() => ended?.aborted === true);
    opening.resolve();
    await going;
  });

  test("not while the client is only silent", async () => {
    const { it, infos } = await met();
    await using _ = it;
    const { client } = await it.ready();
    await client.ask({ type: FLUSH });
    expect(first(infos).ended.aborted).toBe(false);
  });
});

describe("a layer disconnects its client", () => {
  test("at once with force, without further replies", async () => {
    const held = new Held();
    const events: string[] = [];
    const plugin = {
      pread: () => held.wait("read"),
      flush: () => {
        first(infos).disconnect(true);
      },
      close: () => void events.push("close"),
    };
    const { it, infos } = await met({ plugin });
    await using _ = it;
    const { client } = await it.ready();
    client.request({ type: READ, count: 4 });
    await held.reached(1);
    client.send(Buffer.concat([request({ type: FLUSH }), request({ type: FLUSH })]));
    await client.closed;
    expect(first(infos).ended.aborted).toBe(true);
    // The layers stay open until the last request has returned.
    expect(events).toEqual([]);
    held.releaseAll();
    await until(() => it.server.connections === 0);
    expect(events).toEqual(["close"]);
    expect(logged.lines).toEqual([]);
  });

  test("softly: requests in flight are answered, later ones are refused until the client leaves", async () => {
    const held = new Held();
    const plugin = {
      pread: () => held.wait("read"),
      flush: () => {
        first(infos).disconnect(false);
      },
    };
    const { it, infos } = await met({ plugin });
    await using _ = it;
    const { client } = await it.ready();
    client.request({ type: READ, count: 4, cookie: 1n });
    await held.reached(1);
    expect(await client.ask({ type: FLUSH, cookie: 2n })).toMatchObject({ error: 0, cookie: 2n });
    expect((await client.ask({ type: WRITE, payload: new Uint8Array(9) })).error).toBe(ESHUTDOWN);
    expect((await client.ask({ type: FLUSH })).error).toBe(ESHUTDOWN);
    expect(first(infos).ended.aborted).toBe(false);
    held.releaseAll();
    expect(await client.reply()).toEqual({ error: 0, cookie: 1n });
    await client.take(4);
    expect((await client.ask({ type: FLUSH })).error).toBe(ESHUTDOWN);
    expect(it.calls).toEqual([]);
    client.request({ type: DISC });
    await client.closed;
  });

  test("while its export is being opened", async () => {
    for (const force of [true, false]) {
      await using it = await running({
        meets: (when, info) => {
          if (when === "open") info.disconnect(force);
        },
      });
      const client = await it.connect();
      await client.hello();
      if (force) {
        await expect(client.go()).rejects.toThrow("the server closed");
      } else {
        await client.go();
        expect((await client.ask({ type: FLUSH })).error).toBe(ESHUTDOWN);
      }
    }
  });
});
