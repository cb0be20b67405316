/** Clients that a layer disconnects by force. */
import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { bytes, infoPayload, NbdClient, option, request } from "#test/client";
import { until } from "#test/server";

import { running } from "./server-fixture.ts";

const GO = 7;
const READ = 0;

/** The sockets that this process has open. */
function sockets(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:");
    } catch {
      return false;
    }
  }).length;
}

async function served(see: (socket: string, drop: () => void) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-dropped-"));
  const unix = join(folder, "socket");
  let drop: () => void = () => {};
  try {
    await using server = await running({
      size: 4 << 20,
      listen: { unix },
      meets: (when, connection) => {
        if (when === "open") drop = () => connection.disconnect(true);
      },
    });
    await see(unix, () => drop());
    await until(() => server.server.connections === 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("a client gets earlier replies before a forced disconnect, then the end of the stream", async () => {
  await served(async (unix, drop) => {
    await using client = (await NbdClient.ready({ unix })).client;
    client.request({ type: READ, offset: 0n, count: 65536 });
    await client.reply();
    drop();
    await client.closed;
    expect((await client.take(65536)).length).toBe(65536);
  });
});

test("a forced disconnect cuts off a client that takes no output", async () => {
  await served(async (unix, drop) => {
    const before = sockets();
    const client = net.connect(unix);
    client.on("error", () => {});
    // The client never reads, so replies fill the kernel's buffers.
    client.pause();
    const reads = Array.from({ length: 32 }, () =>
      request({ type: READ, offset: 0n, count: 1 << 20 }),
    );
    client.write(bytes(3, option(GO, infoPayload("")), ...reads));
    await until(() => sockets() === before + 2);
    await until(() => client.bytesWritten > 0);
    await until(() => {
      // There is no client to disconnect until the export is open.
      drop();
      return sockets() === before + 1;
    });
    expect(client.bytesRead).toBe(0);
    client.destroy();
  });
}, 20_000);
