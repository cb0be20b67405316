/** The clients of bench/soak.ts: some vanish, others check that the disk still has their data. */
import { type Export, NbdClient } from "#test/client";
import type { Served } from "#test/server";

/** The server that clients connect to. */
export type Address = Pick<Served, "socket" | "uri">;

import type { Random } from "./soak-stacks.ts";

const READ = 0;
const WRITE = 1;
const DISCONNECT = 2;
const FLUSH = 3;
const TRIM = 4;
const CACHE = 5;
const ZERO = 6;

/** A part of the disk. */
export interface Region {
  readonly start: number;
  readonly length: number;
}

/** A client that is ready for requests. Rejects if the server refuses it. */
export async function connected(server: Address): Promise<{ client: NbdClient; export: Export }> {
  const client = await NbdClient.connect({ unix: server.socket });
  try {
    await client.hello();
    const found = await client.go();
    if (!("size" in found)) throw new Error(`GO was refused with ${found.type.toString(16)}`);
    return { client, export: found };
  } catch (error) {
    client.terminate();
    throw error;
  }
}

const below = (random: Random, n: number): number => Math.floor(random() * n);

// ---- clients that vanish

export const kinds = [
  "raw",
  "half a handshake",
  "half-open",
  "slow reader",
  "half a write",
  "nbdsh",
  "nbdcopy",
] as const;
type Kind = (typeof kinds)[number];

/** Run one client of a random kind, which changes only the region. Rejects if the server refuses it. */
export async function vanishing(server: Address, region: Region, random: Random): Promise<Kind> {
  const kind = random() < 0.1 ? pickProgram(random) : (kinds[below(random, 5)] ?? "raw");
  if (kind === "nbdsh" || kind === "nbdcopy") {
    await killed(kind, server, region, random);
    return kind;
  }
  if (kind === "half a handshake") {
    await halfHandshake(server, random);
    return kind;
  }
  const { client } = await connected(server);
  try {
    await use(client, kind, region, random);
  } finally {
    client.terminate();
  }
  return kind;
}

const pickProgram = (random: Random): Kind => (random() < 0.7 ? "nbdsh" : "nbdcopy");

async function use(client: NbdClient, kind: Kind, region: Region, random: Random): Promise<void> {
  const some = 1 + below(random, 40);
  for (let i = 0; i < some; i++) request(client, region, random, BigInt(i));
  if (kind === "half a write") {
    const payload = new Uint8Array(below(random, 4000));
    client.request({ type: WRITE, offset: BigInt(region.start), count: 4096, payload });
    if (random() < 0.5) await client.sent();
  } else if (kind === "half-open") {
    client.shutdown();
    await Promise.race([client.closed, pause(below(random, 300))]);
  } else if (kind === "slow reader") {
    client.pause();
    for (let i = 0; i < 30; i++) {
      const count = Math.min(region.length, 1 << 18);
      client.request({ type: READ, offset: BigInt(region.start), count, cookie: 999n });
    }
    await pause(below(random, 300));
    if (random() < 0.5) {
      client.resume();
      await client.take(below(random, 1 << 20));
    }
  } else {
    for (let i = below(random, some); i > 0; i--) {
      const { error } = await client.reply();
      // The data of a read follows, which is not parsed here.
      if (error === 0) break;
    }
  }
}

function request(client: NbdClient, region: Region, random: Random, cookie: bigint): void {
  const count = Math.min(512 << below(random, 9), region.length);
  const offset = BigInt(region.start + below(random, region.length - count + 1));
  const kind = below(random, 10);
  if (kind < 4) client.request({ type: READ, offset, count, cookie });
  else if (kind < 7) {
    client.request({ type: WRITE, offset, cookie, payload: new Uint8Array(count).fill(kind) });
  } else if (kind === 7) client.request({ type: FLUSH, cookie });
  else {
    const type = [TRIM, CACHE, ZERO][below(random, 3)] ?? ZERO;
    client.request({ type, offset, count, cookie });
  }
}

async function halfHandshake(server: Address, random: Random): Promise<void> {
  const client = await NbdClient.connect({ unix: server.socket });
  if (random() < 0.7) client.send(new Uint8Array([0, 0, 0, 3, 0x49, 0x48].slice(below(random, 3))));
  if (random() < 0.3) await pause(below(random, 200));
  client.terminate();
}

const script = (region: Region) => `
import random
h.set_strict_mode(0)
while True:
    for i in range(16):
        count = random.randrange(1, 65536)
        at = ${region.start} + random.randrange(${region.length} - 65536)
        if random.random() < 0.5:
            h.aio_pread(nbd.Buffer(count), at)
        else:
            h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(count)), at)
    while h.aio_in_flight() > 4:
        h.poll(-1)
`;

/** Run a real client, and kill it at a random time. */
async function killed(
  kind: "nbdcopy" | "nbdsh",
  server: Address,
  region: Region,
  random: Random,
): Promise<void> {
  const command =
    kind === "nbdsh"
      ? ["nbdsh", "-u", server.uri, "-c", script(region)]
      : ["nbdcopy", server.uri, "null:"];
  const child = Bun.spawn(command, {
    // Only the system's Python has libnbd's module.
    env: { ...process.env, PATH: `/usr/bin:${process.env["PATH"] ?? ""}` },
    stdio: ["ignore", "ignore", "ignore"],
  });
  await Promise.race([child.exited, pause(kind === "nbdsh" ? 200 + below(random, 600) : 50)]);
  child.kill("SIGKILL");
  await child.exited;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

// ---- clients that check

/** Writes to a region of the disk that no other client changes, and checks its content. */
export class Keeper {
  readonly region: Region;
  /** The mistakes found. */
  readonly wrong: string[] = [];
  readonly #model: Uint8Array;
  readonly #random: Random;
  #writable = true;
  #known = false;

  constructor(region: Region, random: Random) {
    this.region = region;
    this.#random = random;
    this.#model = new Uint8Array(region.length);
  }

  get writable(): boolean {
    return this.#writable;
  }

  /** Connect, make some changes, read everything back, and leave, with a disconnect request or without. */
  async visit(server: Address): Promise<void> {
    const ready = await connected(server).catch(() => undefined);
    // The limit filter, or a server under load, may refuse the client.
    if (ready === undefined) return;
    const { client, export: found } = ready;
    try {
      if ((found.eflags & 2) !== 0) this.#writable = false;
      if (!this.#known) await this.#learn(client);
      if (this.#writable) {
        for (let i = below(this.#random, 6); i > 0; i--) await this.#change(client, found.eflags);
      }
      await this.#check(client);
      if (this.#random() < 0.7) {
        client.request({ type: DISCONNECT });
        await client.closed;
      }
    } finally {
      client.terminate();
    }
  }

  /** Read the initial content, which may be anything. */
  async #learn(client: NbdClient): Promise<void> {
    for (const [offset, count] of pieces(this.region)) {
      const { error, data } = await client.ask({ type: READ, offset: BigInt(offset), count });
      if (error !== 0) throw new Error(`a first read at ${offset} failed with ${error}`);
      this.#model.set(data, offset - this.region.start);
    }
    this.#known = true;
  }

  async #change(client: NbdClient, eflags: number): Promise<void> {
    const { start, length } = this.region;
    const at = below(this.#random, length);
    const count = 1 + below(this.#random, Math.min(length - at, 100_000));
    const offset = BigInt(start + at);
    const what = below(this.#random, 8);
    if (what === 0 && (eflags & 0x40) !== 0) {
      const { error } = await client.ask({ type: ZERO, offset, count });
      if (error === 0) this.#model.fill(0, at, at + count);
      else this.wrong.push(`zeroes at ${offset} failed with ${error}`);
      return;
    }
    if (what === 1 && (eflags & 4) !== 0) {
      const { error } = await client.ask({ type: FLUSH });
      if (error !== 0) this.wrong.push(`a flush failed with ${error}`);
      return;
    }
    const payload = new Uint8Array(count);
    const first = below(this.#random, 256);
    for (let i = 0; i < count; i++) payload[i] = first + i * 7;
    const flags = what === 2 && (eflags & 8) !== 0 ? 1 : 0;
    const { error } = await client.ask({ type: WRITE, flags, offset, payload });
    if (error === 0) this.#model.set(payload, at);
    else this.wrong.push(`a write of ${count} bytes at ${offset} failed with ${error}`);
  }

  async #check(client: NbdClient): Promise<void> {
    for (const [offset, count] of pieces(this.region)) {
      const { error, data } = await client.ask({ type: READ, offset: BigInt(offset), count });
      const at = offset - this.region.start;
      if (error !== 0) this.wrong.push(`a read at ${offset} failed with ${error}`);
      else if (!Buffer.from(this.#model.buffer, at, count).equals(data)) {
        const first = data.findIndex((byte, i) => byte !== this.#model[at + i]);
        this.wrong.push(`data differs from the written data, from ${offset + first} on`);
      }
    }
  }
}

function pieces({ start, length }: Region): [offset: number, count: number][] {
  const most = 1 << 18;
  return Array.from({ length: Math.ceil(length / most) }, (_, i) => [
    start + i * most,
    Math.min(most, length - i * most),
  ]);
}
