/** The server returns memory to the system after clients have disconnected. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import { bytes, NbdClient } from "#test/client";
import { serve, type Served, until } from "#test/server";

const READ = 0;
const WRITE = 1;
const large = 60 << 20;
const clients = 10;
/** The time limit for that. */
const limitMs = 10_000;

function resident({ process: { pid } }: Served): number {
  const kibibytes = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kibibytes) * 1024;
}

/** Lets clients act and disconnect. Returns the memory before, and after they have disconnected. */
async function burst(act: (client: NbdClient) => Promise<void>) {
  await using server = await serve(["null", "1G"]);
  const target = { unix: server.socket };
  await using quiet = (await NbdClient.ready(target)).client;
  await quiet.ask({ type: READ, offset: 0n, count: 4096 });
  const before = resident(server);
  const all: NbdClient[] = [];
  for (let i = 0; i < clients; i++) {
    const { client } = await NbdClient.ready(target);
    await act(client);
    all.push(client);
  }
  await until(() => resident(server) > (clients * large) / 2);
  for (const client of all) client.terminate();
  const left = performance.now();
  await until(() => resident(server) <= before * 1.2 || performance.now() - left > limitMs);
  return { before, after: resident(server) };
}

test("the server returns the memory of half a large write", async () => {
  const payload = new Uint8Array(large - 1);
  const { before, after } = await burst(async (client) => {
    client.send(bytes(0x25609513, [2, 0], [2, WRITE], 1n, 0n, large, payload));
    await client.sent();
  });
  expect(after).toBeLessThanOrEqual(before * 1.2);
}, 60_000);

test("the server returns the memory of large replies that clients did not read", async () => {
  const { before, after } = await burst(async (client) => {
    client.request({ type: READ, offset: 0n, count: large });
    client.pause();
    await client.sent();
  });
  expect(after).toBeLessThanOrEqual(before * 1.2);
}, 60_000);
