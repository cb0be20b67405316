/** TLS records that arrive in pieces, and requests that are spread over several records. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";

import { infoPayload, NbdClient, option, request } from "#test/client";

import { pattern } from "../protocol/server-fixture.ts";
import { plainBridge, startTls } from "./bridge.ts";
import { needs, secured, skip, trusting } from "./tls-fixture.ts";

const [READ, WRITE, DISC] = [0, 1, 2] as const;
const MiB = 1 << 20;

/** A proxy that sends the clients' data to the server in pieces, one after the other. */
async function slicer(to: string, pieceBytes: number): Promise<AsyncDisposable & { unix: string }> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-slicer-"));
  const unix = join(folder, "socket");
  const sockets: net.Socket[] = [];
  const listener = net.createServer((client) => {
    const server = net.connect(to);
    sockets.push(client, server);
    for (const one of [client, server]) one.on("error", () => {});
    server.pipe(client);
    let last = Promise.resolve();
    client.on("data", (chunk: Buffer) => {
      last = last.then(() => pass(server, chunk, pieceBytes));
    });
    client.on("close", () => void last.then(() => server.end()));
  });
  await new Promise<void>((resolve) => listener.listen(unix, resolve));
  return {
    unix,
    async [Symbol.asyncDispose]() {
      for (const one of sockets) one.destroy();
      await new Promise((resolve) => listener.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function pass(server: net.Socket, chunk: Buffer, pieceBytes: number): Promise<void> {
  for (let at = 0; at < chunk.length && !server.destroyed; at += pieceBytes) {
    server.write(chunk.subarray(at, at + pieceBytes));
    // The server, which is in this process, reads in the meantime.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe.skipIf(skip)(`the server${needs}`, () => {
  test.each([
    [1, [1, 50, 600]],
    [7, [1, 5000, 17_000]],
    [1000, [5000, 70_000, 262_144]],
    [16_406, [262_144, 4096, 300_000]],
    [65_537, [262_144, 1, 3 * MiB, 4096]],
  ])(
    "reads TLS records that arrive in pieces of %i bytes",
    async (pieceBytes, sizes) => {
      await using server = await secured({ size: 8 * MiB });
      await using between = await slicer(server.socket, pieceBytes);
      await using bridge = await plainBridge(between.unix, await trusting());
      await using client = await NbdClient.connect(bridge);
      await client.hello();
      await client.go("");
      for (const [i, size] of sizes.entries()) {
        const payload = pattern(size).map((byte) => byte ^ (i + 1));
        client.request({ type: WRITE, offset: BigInt(i), payload });
        client.request({ type: READ, offset: BigInt(i), count: size });
        expect((await client.reply()).error).toBe(0);
        expect((await client.reply()).error).toBe(0);
        expect(Buffer.compare(await client.take(size), payload)).toBe(0);
      }
    },
    30_000,
  );

  test("reads TLS records that end anywhere in a request", async () => {
    await using server = await secured({ size: MiB });
    const secure = tls.connect({
      ...(await trusting()),
      socket: await startTls(server.socket),
    });
    const closed = new Promise((resolve) => secure.once("close", resolve));
    secure.on("error", () => {});
    secure.resume();
    const payload = pattern(100_000);
    const all = Buffer.concat([
      option(7, infoPayload("")),
      ...[0, 1, 2].map((i) => request({ type: WRITE, offset: BigInt(i * 100_000), payload })),
      request({ type: DISC }),
    ]);
    // Records of 1 byte, 2 bytes, 3 bytes …
    for (let at = 0, length = 1; at < all.length; at += length, length++) {
      secure.write(all.subarray(at, at + length));
    }
    await closed;
    for (const i of [0, 1, 2]) {
      const at = i * 100_000;
      expect(Buffer.compare(server.disk.subarray(at, at + payload.length), payload)).toBe(0);
    }
    expect(server.calls.filter((call) => call.startsWith("pwrite")).length).toBe(3);
  });
});
