/**
 * Random chains of genuine, old and our own layers, one server after another, and clients that are killed at random.
 * Compares what each server holds before and after: memory, threads, descriptors and temporary files; and whether it
 * still has the data that it was given.
 *
 * usage: bun bench/soak.ts [--seconds=600] [--life=25] [--seed=N] [--only=N] [ARGUMENT...]
 *
 * With arguments all servers run with these instead of random chains; --only=N runs the N-th chain of the seed alone.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { serve, type Served } from "#test/server";

import { randomFrom } from "../test/stock/stack-recipes.ts";
import { connected, Keeper, type Region, vanishing } from "./soak-clients.ts";
import { randomStack, type SoakStack } from "./soak-stacks.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "600" },
    life: { type: "string", default: "25" },
    seed: { type: "string", default: String(Date.now() % 100_000) },
    only: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const life = Number(values.life);

const VANISHING = 10;
const KEEPERS = 2;

/** More than these is a leak, or looks like one. */
const MORE_RSS_KIB = 32 * 1024;
const MORE_THREADS = 72; // idle request threads are kept, and a module may have a few

interface Held {
  readonly rssKiB: number;
  readonly threads: number;
  readonly descriptors: number;
  readonly files: number;
}

function held(pid: number, temporary: string): Held {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const number = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  return {
    rssKiB: number("VmRSS"),
    threads: number("Threads"),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    files: readdirSync(temporary, { recursive: true }).length,
  };
}

/** What it holds once it has noticed that all clients are gone, or after ten seconds. */
async function settled(pid: number, temporary: string, idle: Held): Promise<Held> {
  for (let tries = 0; ; tries++) {
    const now = held(pid, temporary);
    if (now.descriptors <= idle.descriptors || tries === 100) return now;
    await Bun.sleep(100);
  }
}

interface Counts {
  clients: number;
  turnedAway: number;
  visits: number;
}

/** Clients of all kinds at once, until the time is over. */
async function crowd(
  server: Served,
  keepers: readonly Keeper[],
  rest: Region,
  random: () => number,
  forSeconds: number,
): Promise<Counts> {
  const until = performance.now() + forSeconds * 1000;
  const counts: Counts = { clients: 0, turnedAway: 0, visits: 0 };
  const vanish = async () => {
    while (performance.now() < until && server.process.exitCode === null) {
      counts.clients++;
      await vanishing(server, rest, random).catch(() => void counts.turnedAway++);
    }
  };
  const look = async (keeper: Keeper) => {
    while (performance.now() < until && server.process.exitCode === null) {
      counts.visits++;
      await keeper.visit(server).catch((error: unknown) => keeper.wrong.push(String(error)));
    }
  };
  await Promise.all([...Array.from({ length: VANISHING }, vanish), ...keepers.map(look)]);
  return counts;
}

/** What is suspicious about one server's life. */
async function soak(
  stack: SoakStack,
  random: () => number,
): Promise<{ text: string; wrong: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-soak-"));
  try {
    const temporary = join(folder, "tmp");
    mkdirSync(temporary);
    writeFileSync(join(folder, "disk"), new Uint8Array(2 << 20));
    writeFileSync(join(folder, "list"), "0 1M\n1M 512K hole,zero\n");
    const args = stack.args.map((arg) => arg.replaceAll("FOLDER", folder));
    await using server = await serve(args, { env: { TMPDIR: temporary } });
    return await watched(server, temporary, random);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function watched(
  server: Served,
  temporary: string,
  random: () => number,
): Promise<{ text: string; wrong: string[] }> {
  const { pid } = server.process;
  const { client, export: found } = await connected(server);
  client.terminate();
  // The keepers have the first half, without its last block: a filter may deal with whole blocks of 128 KiB.
  const half = Math.floor(Number(found.size) / 2);
  const each = Math.floor((half - (1 << 17)) / KEEPERS);
  const keepers = Array.from(
    { length: KEEPERS },
    (_, i) => new Keeper({ start: i * each, length: each }, random),
  );
  const rest = { start: half, length: Number(found.size) - half };
  const idle = held(pid, temporary);
  const first = await crowd(server, keepers, rest, random, life / 4);
  const before = await settled(pid, temporary, idle);
  const second = await crowd(server, keepers, rest, random, (life * 3) / 4);
  const after = await settled(pid, temporary, idle);
  for (const keeper of keepers) await keeper.visit(server);
  const { code, stderr } = await server.stop();
  const wrong = keepers.flatMap((keeper) => [...new Set(keeper.wrong)].slice(0, 5));
  if (code !== 0) wrong.push(`exit status ${code}: ${stderr.slice(-2000)}`);
  if (after.rssKiB > before.rssKiB + MORE_RSS_KIB) wrong.push("more memory");
  if (after.threads > Math.max(before.threads, idle.threads + MORE_THREADS)) {
    wrong.push("more threads");
  }
  if (after.descriptors > before.descriptors) wrong.push("more descriptors");
  if (after.files > before.files) wrong.push("more temporary files");
  const clients = `${first.clients} + ${second.clients} clients`;
  const text = `${clients}, ${second.turnedAway} turned away, ${first.visits + second.visits} visits${keepers[0]?.writable === false ? ", readonly" : ""}; ${shown(before, after)}`;
  return { text, wrong };
}

function shown(before: Held, after: Held): string {
  return (["rssKiB", "threads", "descriptors", "files"] as const)
    .map((key) => `${key} ${before[key]} -> ${after[key]}`)
    .join(", ");
}

process.stdout.write(`seed ${values.seed}\n`);
const end = performance.now() + seconds * 1000;
let bad = 0;
for (let i = 0; performance.now() < end; i++) {
  const number = values.only === undefined ? i : Number(values.only);
  // Each chain has a seed of its own, so that it can be had again without those before it.
  const random = randomFrom(Number(values.seed) * 1000 + number);
  const stack =
    positionals.length > 0
      ? { args: positionals, line: positionals.join(" ") }
      : await randomStack(random);
  const { text, wrong } = await soak(stack, random).catch((error: unknown) => ({
    text: "",
    wrong: [String(error)],
  }));
  process.stdout.write(`${number}: ${stack.line}\n    ${text}\n`);
  for (const line of wrong) process.stdout.write(`    WRONG: ${line}\n`);
  if (wrong.length > 0) bad++;
  if (values.only !== undefined) break;
}
process.stdout.write(`${bad === 0 ? "all was well" : `${bad} servers with something wrong`}\n`);
process.exitCode = bad === 0 ? 0 : 1;
