/**
 * The hostile clients of bench/abuse.ts, in their own process: random handshakes, requests of all kinds, stalled and
 * half-sent writes, and real clients that are killed. They write only to one region of the disk.
 *
 * usage: bun bench/abuse-clients.ts SOCKET START LENGTH SECONDS SEED
 */
import { bytes, infoPayload, NbdClient, option, request } from "#test/client";
import { randomFrom } from "#test/random";

import { handshake } from "../test/fuzz/grammar.ts";
import { mutated } from "../test/fuzz/mutate.ts";
import { Random } from "../test/fuzz/random.ts";
import { type Script, send, sentBy } from "../test/fuzz/script.ts";
import { type Region, vanishing } from "./soak-clients.ts";

const [socket = "", start = "0", length = "0", seconds = "300", seed = "1"] = process.argv.slice(2);
const region: Region = { start: Number(start), length: Number(length) };
const until = performance.now() + Number(seconds) * 1000;

const VANISHING = 6;
const HANDSHAKES = 3;
const STALLED = 8;
const STALL_MS = 500;

const requestMagic = bytes(0x25609513);
const counts: Record<string, number> = {};

function count(kind: string): void {
  counts[kind] = (counts[kind] ?? 0) + 1;
}

/** Run one client after another. The server may refuse any of them. */
async function repeat(client: () => Promise<string>): Promise<void> {
  while (performance.now() < until) count(await client().catch(() => "refused"));
}

/** A handshake from the fuzzer. Scripts that may contain a request are not sent, since they might write anywhere. */
async function randomHandshake(random: Random): Promise<string> {
  const data = Buffer.from(sentBy(mutated(random, plain(random), plain(random)).steps));
  if (data.includes(requestMagic)) return "handshakes left out";
  await using client = await NbdClient.connect({ unix: socket });
  client.send(data);
  if (random.once(3)) client.terminate();
  void client.sent().then(() => client.shutdown());
  await client.closed;
  return "handshakes";
}

function plain(random: Random): Script {
  const configuration = "plain";
  return { configuration, steps: handshake(random, configuration).map((message) => send(message)) };
}

/** A write whose last byte is never sent. */
async function stalledWrite(): Promise<string> {
  await using client = await NbdClient.connect({ unix: socket });
  const payload = new Uint8Array(region.length);
  const half = request({ type: 1, offset: BigInt(region.start), payload }).subarray(0, -1);
  client.send(bytes(3, option(7, infoPayload("")), half));
  await Promise.race([client.closed, new Promise((resolve) => setTimeout(resolve, STALL_MS))]);
  client.terminate();
  return "stalled writes";
}

const served = { socket, uri: `nbd+unix:///?socket=${socket}` };
const clients = [
  ...Array.from({ length: VANISHING }, (_, i) => {
    const random = randomFrom(Number(seed) * 100 + i);
    return async () => `${await vanishing(served, region, random)} clients`;
  }),
  ...Array.from({ length: HANDSHAKES }, (_, i) => {
    const random = new Random(Number(seed) * 100 + 50 + i);
    return () => randomHandshake(random);
  }),
  ...Array.from({ length: STALLED }, () => stalledWrite),
];
await Promise.all(clients.map(repeat));
const lines = Object.entries(counts).map(([kind, many]) => `${many} ${kind}`);
process.stdout.write(`${lines.toSorted().join(", ")}\n`);
