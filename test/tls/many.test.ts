/** Two hundred clients with TLS at once are served, and leave nothing in memory. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";

import { bytes, infoPayload, option, request } from "#test/client";
import { compileModule } from "#test/modules";
import { serve, type Served } from "#test/server";

import { startTls } from "./bridge.ts";
import { pki } from "./certificates.ts";
import { needing, trusting } from "./tls-fixture.ts";

const { skip, needs } = needing("cc");

const clients = 200;
const readBytes = 65_536;
/** INFO_EXPORT, the ACK, and a simple reply. */
const expectedBytes = 32 + 20 + 16 + readBytes;

/** A client that has read from the disk and stays connected. */
async function reader(server: Served, isSecure: boolean): Promise<net.Socket> {
  const socket = isSecure
    ? tls.connect({ ...(await trusting()), socket: await startTls(server.socket) })
    : await plain(server.socket);
  let count = 0;
  const read = new Promise<void>((resolve, reject) => {
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`closed after ${count} bytes`)));
    socket.on("data", (chunk) => {
      count += chunk.length;
      if (count === expectedBytes) resolve();
    });
  });
  const go = option(7, infoPayload(""));
  socket.write(Buffer.concat([go, request({ type: 0, count: readBytes })]));
  await read;
  return socket;
}

/** A client without TLS, after the greeting. */
async function plain(path: string): Promise<net.Socket> {
  const socket = net.connect(path);
  await new Promise((resolve) => socket.once("data", resolve));
  socket.write(bytes(3));
  return socket;
}

async function left(socket: net.Socket): Promise<void> {
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.write(request({ type: 2 }));
  await closed;
}

describe.skipIf(skip)(`many clients${needs}`, () => {
  test("are served together, and leave nothing in the C heap", async () => {
    const heap = await compileModule("bench/heap.c");
    const { server: certificates } = await pki();
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-heap-"));
    using _ = { [Symbol.dispose]: () => rmSync(folder, { recursive: true }) };
    const file = join(folder, "heap");
    await using server = await serve([
      ...["--tls=on", `--tls-certificates=${certificates}`],
      ...[`--filter=${heap}`, "memory", "1M", `heap-file=${file}`],
    ]);
    /** The memory in use without other clients. */
    const inUse = async (): Promise<number> => {
      await left(await reader(server, false));
      return Number(readFileSync(file, "utf8").trimEnd().split("\n").at(-1));
    };
    /** The growth of that memory by many clients. */
    const growth = async (isSecure: boolean): Promise<number> => {
      const before = await inUse();
      const all = Array.from({ length: clients }, () => reader(server, isSecure));
      await Promise.all((await Promise.all(all)).map(left));
      return (await inUse()) - before;
    };
    // The first clients cause allocations that happen once.
    await growth(true);
    // The server keeps the pointers that each client's filter had for a while. A session takes 10 KiB.
    const without = await growth(false);
    expect((await growth(true)) - without).toBeLessThan(100 << 10);
    expect((await server.stop()).stderr).toBe("");
  }, 60_000);
});
