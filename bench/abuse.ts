/**
 * Abuses a server for some minutes, while one client reads and writes, checks every byte and times each request. Prints
 * the latencies, and the server's memory: before, the maximum, and ten seconds afterwards.
 *
 * usage: bun bench/abuse.ts [--seconds=300] [--seed=N] [--program=COMMAND] [ARGUMENT...]
 *
 * Without arguments the server gets `--filter=offset file FOLDER/disk`. FOLDER stands for a temporary folder; the disk
 * has 64 MiB. --program is another server, such as nbdkit.
 */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import type { NbdClient } from "#test/client";
import { serve, type Served } from "#test/server";

import { Random } from "../test/fuzz/random.ts";
import { connected, type Region } from "./soak-clients.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "300" },
    seed: { type: "string", default: String(Date.now() % 100_000) },
    program: { type: "string" },
  },
});
const seconds = Number(values.seconds);

const MIB = 1 << 20;
const DISK = 64 * MIB;
const checkedRegion: Region = { start: 0, length: 16 * MIB };
const abusedRegion: Region = { start: 16 * MIB, length: 48 * MIB };
const BLOCK = 4096;
/** The time for the server to finish the work of clients that have left. */
const AFTERWARDS_MS = 10_000;
/** By then the server has seen each kind of client, so that memory can be measured for the first time. */
const WARM_UP_SECONDS = 10;

const READ = 0;
const WRITE = 1;

function rssMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024;
}

interface Watched {
  /** In milliseconds. */
  readonly times: number[];
  readonly wrong: string[];
  mostMiB: number;
}

/** One request: a write of random bytes, or a read that must return the written bytes. */
async function step(client: NbdClient, model: Uint8Array, random: Random, wrong: string[]) {
  const at = random.below(checkedRegion.length / BLOCK) * BLOCK;
  const offset = BigInt(checkedRegion.start + at);
  if (random.once(3)) {
    const payload = random.bytes(BLOCK);
    const { error } = await client.ask({ type: WRITE, offset, payload });
    if (error === 0) model.set(payload, at);
    else wrong.push(`a write at ${offset} failed with ${error}`);
    return;
  }
  const { error, data } = await client.ask({ type: READ, offset, count: BLOCK });
  if (error !== 0) wrong.push(`a read at ${offset} failed with ${error}`);
  else if (!Buffer.from(model.buffer, at, BLOCK).equals(data)) {
    wrong.push(`a read at ${offset} did not return the written bytes`);
  }
}

/** Run the checking client until `ended`. */
async function watch(server: Served, model: Uint8Array, ended: Promise<unknown>): Promise<Watched> {
  const watched: Watched = { times: [], wrong: [], mostMiB: 0 };
  const { client } = await connected(server);
  const random = new Random(Number(values.seed));
  const stop = new AbortController();
  void ended.then(() => stop.abort());
  const memory = setInterval(() => {
    watched.mostMiB = Math.max(watched.mostMiB, rssMiB(server.process.pid));
  }, 50);
  while (!stop.signal.aborted) {
    const began = performance.now();
    await step(client, model, random, watched.wrong);
    watched.times.push(performance.now() - began);
  }
  clearInterval(memory);
  client.terminate();
  return watched;
}

/** Run the hostile clients in their own process, so that they do not slow down the measuring client. */
async function abuse(server: Served, forSeconds: number, seed: string): Promise<string> {
  const { start, length } = abusedRegion;
  const child = Bun.spawn(
    [
      process.execPath,
      join(import.meta.dirname, "abuse-clients.ts"),
      ...[server.socket, start, length, forSeconds, seed].map(String),
    ],
    { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  );
  const text = await new Response(child.stdout).text();
  const code = await child.exited;
  if (code !== 0) throw new Error(`the hostile clients ended with ${code}`);
  return text.trim();
}

async function run(server: Served): Promise<string[]> {
  const { pid } = server.process;
  const model = new Uint8Array(checkedRegion.length);
  const warmUp = abuse(server, WARM_UP_SECONDS, `${values.seed}0`);
  const first = await watch(server, model, warmUp);
  await Bun.sleep(AFTERWARDS_MS);
  const before = rssMiB(pid);
  const abused = abuse(server, seconds, values.seed);
  const { times, wrong, mostMiB } = await watch(server, model, abused);
  await Bun.sleep(AFTERWARDS_MS);
  const after = rssMiB(pid);
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(1);
  process.stdout.write(
    `${await abused}\n` +
      `${times.length} checked requests: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, p99.9 ${at(0.999)} ms, slowest ${at(1)} ms\n` +
      `memory: ${before.toFixed(0)} MiB before, at most ${mostMiB.toFixed(0)} MiB, ${after.toFixed(0)} MiB ten seconds afterwards\n`,
  );
  return [...first.wrong, ...wrong];
}

process.stdout.write(`seed ${values.seed}\n`);
const folder = mkdtempSync(join(tmpdir(), "nbdkit-abuse-"));
try {
  const disk = join(folder, "disk");
  writeFileSync(disk, "");
  truncateSync(disk, DISK);
  const given = positionals.length > 0 ? positionals : ["--filter=offset", "file", "FOLDER/disk"];
  const args = given.map((arg) => arg.replaceAll("FOLDER", folder));
  const options = values.program === undefined ? {} : { program: values.program.split(" ") };
  await using server = await serve(args, options);
  const wrong = await run(server);
  const { code, stderr } = await server.stop();
  // A bug prints a stack trace.
  if (code !== 0 || /^ +at /m.test(stderr)) {
    wrong.push(`the server ended with ${code}: ${stderr.slice(-2000)}`);
  }
  for (const line of new Set(wrong)) process.stdout.write(`WRONG: ${line}\n`);
  process.stdout.write(wrong.length === 0 ? "no wrong byte\n" : `${wrong.length} mistakes\n`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
