/**
 * Kills clients at random against a chain of C and TypeScript layers, and compares what the server holds before and
 * after: memory, threads and descriptors.
 *
 * usage: bun bench/soak.ts [SECONDS]
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { compileModule } from "#test/modules";
import { serve } from "#test/server";

const seconds = Number(process.argv[2] ?? 60);
const seed = Number(process.env["SEED"] ?? Date.now() % 100_000);
let state = seed;
/** A number from 0 to n-1. */
function random(n: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
}

interface Held {
  readonly rssKiB: number;
  readonly threads: number;
  readonly descriptors: number;
}

function held(pid: number): Held {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const number = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  return {
    rssKiB: number("VmRSS"),
    threads: number("Threads"),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** One client: it does something, and vanishes at a point of its own choice. */
async function client(socket: string): Promise<void> {
  if (random(8) === 0) {
    const raw = await NbdClient.connect({ unix: socket });
    if (random(2) === 0) raw.send(new Uint8Array([0, 0, 0, 3, 0x49, 0x48]));
    raw.terminate();
    return;
  }
  const { client: nbd } = await NbdClient.ready({ unix: socket });
  const requests = 1 + random(40);
  for (let i = 0; i < requests; i++) {
    const count = 512 << random(8);
    const offset = BigInt(random(1 << 20));
    const cookie = BigInt(i);
    const type = random(6);
    if (type < 3) nbd.request({ type: 0, offset, count, cookie });
    else if (type < 5)
      nbd.request({ type: 1, offset, count, cookie, payload: new Uint8Array(count) });
    else nbd.request({ type: 3, cookie });
  }
  // A write whose data never comes in full.
  if (random(4) === 0) {
    nbd.request({ type: 1, offset: 0n, count: 100_000, payload: new Uint8Array(random(100_000)) });
  }
  for (let i = random(requests + 1); i > 0; i--) {
    const { error } = await nbd.reply();
    if (error === 0) break;
  }
  nbd.terminate();
}

const folder = mkdtempSync(join(tmpdir(), "nbdkit-soak-"));
try {
  const image = join(folder, "image");
  writeFileSync(image, new Uint8Array(4 << 20));
  const xor = await compileModule("examples/xor/xor.c");
  const background = await compileModule("test/fixtures/background.c");
  await using server = await serve([
    `--filter=${xor}`,
    "--filter=cow",
    `--filter=${background}`,
    "--filter=offset",
    "file",
    image,
    "xor-key=90",
  ]);
  const { pid } = server.process;
  let clients = 0;
  const work = async (until: number) => {
    while (performance.now() < until) {
      clients++;
      await client(server.socket).catch(() => {});
    }
  };
  const phase = async (forSeconds: number) => {
    const until = performance.now() + forSeconds * 1000;
    await Promise.all(Array.from({ length: 12 }, () => work(until)));
  };
  /** What it holds once it has noticed that all clients are gone. */
  const settled = async (): Promise<Held> => {
    for (let tries = 0; ; tries++) {
      const now = held(pid);
      if (now.descriptors <= idle.descriptors || tries === 100) return now;
      await Bun.sleep(100);
    }
  };
  const idle = held(pid);
  await phase(Math.min(10, seconds / 4));
  const before = await settled();
  await phase(seconds);
  const after = await settled();
  // One more client shows that it still serves.
  const { client: last } = await NbdClient.ready({ unix: server.socket });
  const { error } = await last.ask({ type: 0, offset: 0n, count: 4096 });
  last.terminate();
  const { code } = await server.stop();
  process.stdout.write(
    `seed ${seed}: ${clients} clients in ${seconds} s\n` +
      `before: ${JSON.stringify(before)}\nafter:  ${JSON.stringify(after)}\n` +
      `last read: error ${error}; exit status ${code}\n`,
  );
} finally {
  rmSync(folder, { recursive: true });
}
