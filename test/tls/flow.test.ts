/** Large amounts of data through TLS, slow clients, and the ways in which a connection can end. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import type net from "node:net";
import { join } from "node:path";
import tls from "node:tls";

import { infoPayload, NbdClient, option, request } from "#test/client";
import { until } from "#test/server";

import { pattern, quiet } from "../protocol/server-fixture.ts";
import { startTls } from "./bridge.ts";
import { pki } from "./certificates.ts";
import { ask, needs, read, type Secured, secured, skip, trusting } from "./tls-fixture.ts";

const MiB = 1 << 20;

/** The TLS socket of a client in the transmission phase. Only the test reads from it. */
async function bare(server: Secured, raw?: net.Socket): Promise<tls.TLSSocket> {
  raw ??= await startTls(server.socket);
  const socket = tls.connect({ ...(await trusting()), socket: raw });
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  socket.write(option(7, infoPayload("")));
  return socket;
}

/** A client that ends TLS while a flush is running, and then sends 64 MiB without TLS on the same connection. */
const flooding = `
import socket, ssl, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(18, socket.MSG_WAITALL)
s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 5, 0))
s.recv(20, socket.MSG_WAITALL)
context = ssl.create_default_context(cafile=sys.argv[2])
come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(come, go, server_hostname="localhost")
def until(call):
    while True:
        try:
            return call()
        except ssl.SSLWantReadError:
            s.sendall(go.read())
            come.write(s.recv(65536))
until(tls.do_handshake)
tls.write(b"IHAVEOPT" + struct.pack(">III", 7, 6, 0) + bytes(2))
s.sendall(go.read())
# INFO_EXPORT and the ACK.
left = 20 + 12 + 20
while left > 0:
    left -= len(until(lambda: tls.read(left)))
tls.write(struct.pack(">IHHQQI", 0x25609513, 0, 3, 1, 0, 0))
try:
    tls.unwrap()
except ssl.SSLWantReadError:
    pass
s.sendall(go.read())
for i in range(64):
    s.sendall(bytes(1 << 20))
open(sys.argv[3], "w").close()
sys.stdin.read()
`;

describe.skipIf(skip)(`data through TLS${needs}`, () => {
  test("arrives unchanged in requests of all sizes", async () => {
    await using server = await secured({ size: 4 * MiB });
    const client = await server.secure();
    await client.go("");
    for (const count of [1, 16383, 16384, 16385, 65536, 262143, 262144, 300_000, 3 * MiB]) {
      expect(
        Buffer.compare(await read(client, 3n, count), server.disk.subarray(3, 3 + count)),
      ).toBe(0);
      const payload = pattern(count).toReversed();
      expect(await ask(client, { type: 1, offset: 9n, payload })).toMatchObject({ error: 0 });
      expect(Buffer.compare(server.disk.subarray(9, 9 + count), payload)).toBe(0);
    }
  });

  test("is complete if many requests are sent at once and answered later", async () => {
    await using server = await secured({ size: MiB, later: true });
    const client = await server.secure();
    await client.go("");
    const count = 200;
    for (let i = 0; i < count; i++) {
      client.request({ type: 0, cookie: BigInt(i), offset: BigInt(i * 5000), count: 5000 });
    }
    const seen = new Set<number>();
    for (let i = 0; i < count; i++) {
      const { cookie } = await client.reply();
      const data = await client.take(5000);
      const at = Number(cookie) * 5000;
      expect(Buffer.compare(data, server.disk.subarray(at, at + 5000))).toBe(0);
      seen.add(Number(cookie));
    }
    expect(seen.size).toBe(count);
  });

  test("reaches several clients at once", async () => {
    await using server = await secured({ size: 2 * MiB });
    const clients = await Promise.all(Array.from({ length: 8 }, () => server.secure()));
    await Promise.all(clients.map((client) => client.go("")));
    await Promise.all(
      clients.map(async (client, i) => {
        const payload = new Uint8Array(100_000).fill(i + 1);
        for (let round = 0; round < 10; round++) {
          await ask(client, { type: 1, offset: BigInt(i * 200_000), payload });
          expect(Buffer.compare(await read(client, BigInt(i * 200_000), 100_000), payload)).toBe(0);
        }
      }),
    );
    expect(server.server.connections).toBe(8);
  });

  test("waits for a client that does not read it, in bounded memory", async () => {
    await using server = await secured({ size: 8 * MiB });
    const socket = await bare(server);
    socket.pause();
    // 400 MiB in all.
    for (let i = 0; i < 50; i++) socket.write(request({ type: 0, count: 8 * MiB }));
    const reads = (): number => server.calls.filter((call) => call.startsWith("pread")).length;
    await until(() => reads() > 0);
    let before = -1;
    // The server stops reading from the disk once the client's buffers are full.
    await until(() => {
      const same = reads() === before;
      before = reads();
      return same;
    });
    expect(before).toBeLessThan(50);
    expect(server.server.heldBytes).toBeLessThan(40 * MiB);
    socket.destroy();
    await until(() => server.server.connections === 0);
  });

  test("waits for a slow disk when it is written, in bounded memory", async () => {
    const held = Promise.withResolvers<void>();
    let writes = 0;
    const pwrite = (): Promise<void> => {
      writes++;
      return held.promise;
    };
    await using server = await secured({ size: MiB, plugin: { pwrite } });
    const client = await server.secure();
    await client.go("");
    const payload = new Uint8Array(65536);
    const count = 400;
    for (let i = 0; i < count; i++) client.request({ type: 1, payload });
    // The limit of requests in progress in one connection.
    await until(() => writes === 256);
    expect(server.server.heldBytes).toBeLessThan(20 * MiB);
    held.resolve();
    for (let i = 0; i < count; i++) expect((await client.reply()).error).toBe(0);
    expect(writes).toBe(count);
  });
});

describe.skipIf(skip)(`the server${needs}`, () => {
  test("sends close_notify to a client that disconnects", async () => {
    await using server = await secured();
    const socket = await bare(server);
    let ended = false;
    socket.on("end", () => (ended = true));
    socket.resume();
    socket.write(request({ type: 2 }));
    await new Promise((resolve) => socket.once("close", resolve));
    expect(ended).toBe(true);
  });

  test("answers running requests after a client's close_notify", async () => {
    const held = Promise.withResolvers<void>();
    let flushing = false;
    const flush = (): Promise<void> => {
      flushing = true;
      return held.promise;
    };
    await using server = await secured({ plugin: { flush } });
    const socket = await bare(server);
    const got: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => got.push(chunk));
    await until(() => Buffer.concat(got).length > 0);
    const before = Buffer.concat(got).length;
    socket.end(request({ type: 3, cookie: 77n }));
    await until(() => flushing);
    held.resolve();
    await new Promise((resolve) => socket.once("close", resolve));
    const reply = Buffer.concat(got).subarray(before);
    expect(reply.toString("hex")).toBe("6744669800000000000000000000004d");
  });

  const python = "/usr/bin/python3";
  test.skipIf(!existsSync(python))(
    "ignores all data after a client's close_notify (needs python3)",
    async () => {
      const held = Promise.withResolvers<void>();
      await using server = await secured({ plugin: { flush: () => held.promise } });
      // Even if the test fails, since the server waits for the flush.
      using _ = { [Symbol.dispose]: () => held.resolve() };
      const { server: certificates } = await pki();
      const sent = `${server.socket}.sent`;
      const words = [server.socket, join(certificates, "ca-cert.pem"), sent];
      const client = Bun.spawn([python, "-c", flooding, ...words], {
        stdin: "pipe",
        stdout: "ignore",
        stderr: "inherit",
      });
      await until(() => existsSync(sent) || client.exitCode !== null);
      expect(client.exitCode).toBeNull();
      expect(server.server.connections).toBe(1);
      expect(server.server.heldBytes).toBeLessThan(MiB);
      held.resolve();
      await until(() => server.server.connections === 0);
      client.kill();
      await client.exited;
    },
    30_000,
  );

  test("neither loses an answered write nor runs half a request if the connection is cut", async () => {
    using log = quiet(true);
    await using server = await secured();
    const bridge = await server.bridge();
    await using client = await NbdClient.connect(bridge);
    await client.hello();
    await client.go("");
    const payload = new Uint8Array(4096).fill(0xaa);
    expect(await ask(client, { type: 1, offset: 0n, payload })).toMatchObject({ error: 0 });
    // The header and half of the data.
    client.send(request({ type: 1, offset: 8192n, payload }).subarray(0, 2000));
    await client.sent();
    bridge.cut();
    await until(() => server.server.connections === 0);
    expect(server.disk.subarray(0, 4096)).toEqual(payload);
    expect(server.disk.subarray(8192, 12288)).toEqual(pattern(65536).subarray(8192, 12288));
    expect(server.calls.filter((call) => call.startsWith("pwrite")).length).toBe(1);
    expect(log.lines).toContain("disk[1]: debug: client left without ending TLS");
    const again = await server.secure();
    await again.go("");
    expect(await read(again, 0n, 4096)).toEqual(payload);
  });

  test("disconnects a client after a record that was not encrypted with its key", async () => {
    using log = quiet();
    await using server = await secured();
    const raw = await startTls(server.socket);
    const socket = await bare(server, raw);
    await new Promise((resolve) => socket.once("data", resolve));
    // An attacker writes to the connection: application data that was not encrypted.
    raw.write(Buffer.concat([Buffer.from([23, 3, 3, 0, 64]), Buffer.alloc(64, 0x55)]));
    await until(() => server.server.connections === 0);
    expect(log.lines).toEqual(["disk[1]: error: TLS: Decryption has failed"]);
    socket.destroy();
  });

  test("answers all requests before it stops", async () => {
    await using server = await secured({ later: true });
    const client = await server.secure();
    await client.go("");
    client.request({ type: 0, count: 65536, cookie: 5n });
    await until(() => server.calls.some((call) => call.startsWith("pread")));
    const stopped = server.server.stop();
    expect(await client.reply()).toEqual({ error: 0, cookie: 5n });
    expect(await client.take(65536)).toEqual(server.disk);
    await stopped;
    await client.closed;
  });
});
