/**
 * Random chains of genuine, old and our own layers, one server after another, and clients that are killed at random.
 * Compares what each server holds before and after: memory, threads, descriptors and temporary files; and whether it
 * still has the data that it was given.
 *
 * usage: bun bench/soak.ts [--seconds=600] [--life=25] [--seed=N] [--only=N] [ARGUMENT...]
 *
 * With arguments all servers run with these instead of random chains; --only=N runs the N-th chain of the seed alone.
 */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { idleThreadMs } from "#sys/limits";
import { randomFrom } from "#test/random";
import { serve, type Served } from "#test/server";

import { mostSparePipes } from "../src/server/limits.ts";
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

/** A server is measured this often. Later parts are compared with the first one. */
const PARTS = 5;

/** More growth looks like a leak. */
const MORE_RSS_KIB = 48 * 1024;
const MORE_THREADS = 72; // the server keeps idle request threads, and modules may have some

interface Held {
  readonly rssKiB: number;
  readonly threads: number;
  /** Without pipes: the server keeps some for replies from files. */
  readonly descriptors: number;
  readonly pipes: number;
  readonly files: number;
}

function held(pid: number, temporary: string): Held {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const number = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
  const pipes = links.filter((link) => link.startsWith("pipe:")).length;
  return {
    rssKiB: number("VmRSS"),
    threads: number("Threads"),
    descriptors: links.length - pipes,
    pipes,
    files: readdirSync(temporary, { recursive: true }).length,
  };
}

/** Empty if the descriptor is closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

/** What the server holds once it has closed all clients: the number of descriptors must not change for a second. */
async function settled(pid: number, temporary: string): Promise<Held> {
  let last = held(pid, temporary);
  for (let same = 0; same < 10;) {
    await Bun.sleep(100);
    const now = held(pid, temporary);
    same = now.descriptors === last.descriptors ? same + 1 : 0;
    last = now;
  }
  return last;
}

/** The same once the threads for blocking calls, which have descriptors too, have ended for lack of work. */
async function rested(pid: number, temporary: string, idle: Held): Promise<Held> {
  const until = performance.now() + 2 * idleThreadMs + 1000;
  for (;;) {
    const now = await settled(pid, temporary);
    if (now.descriptors <= idle.descriptors || performance.now() > until) return now;
  }
}

interface Counts {
  clients: number;
  refused: number;
  visits: number;
}

/** Run clients of all kinds at once until the time is over. */
async function crowd(
  server: Served,
  keepers: readonly Keeper[],
  rest: Region,
  random: () => number,
  counts: Counts,
): Promise<void> {
  const until = performance.now() + (life / PARTS) * 1000;
  const vanish = async () => {
    while (performance.now() < until && server.process.exitCode === null) {
      counts.clients++;
      await vanishing(server, rest, random).catch(() => void counts.refused++);
    }
  };
  const look = async (keeper: Keeper) => {
    while (performance.now() < until && server.process.exitCode === null) {
      counts.visits++;
      await keeper.visit(server).catch((error: unknown) => keeper.wrong.push(String(error)));
    }
  };
  await Promise.all([...Array.from({ length: VANISHING }, vanish), ...keepers.map(look)]);
}

/** Run one server, and return what is suspicious. */
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
  // The keepers have the first half without its last 128 KiB, since filters may change whole blocks of that size.
  const half = Math.floor(Number(found.size) / 2);
  const each = Math.floor((half - (1 << 17)) / KEEPERS);
  const keepers = Array.from(
    { length: KEEPERS },
    (_, i) => new Keeper({ start: i * each, length: each }, random),
  );
  const rest = { start: half, length: Number(found.size) - half };
  const idle = await settled(pid, temporary);
  const counts: Counts = { clients: 0, refused: 0, visits: 0 };
  const samples: Held[] = [];
  for (let part = 0; part < PARTS; part++) {
    await crowd(server, keepers, rest, random, counts);
    const isCompared = part === 0 || part === PARTS - 1;
    samples.push(await (isCompared ? rested(pid, temporary, idle) : settled(pid, temporary)));
  }
  for (const keeper of keepers) await keeper.visit(server);
  const { code, stderr } = await server.stop();
  const wrong = keepers.flatMap((keeper) => [...new Set(keeper.wrong)].slice(0, 5));
  if (code !== 0) wrong.push(`exit status ${code}: ${stderr.slice(-2000)}`);
  wrong.push(...more(idle, samples));
  const clients = `${counts.clients} clients, ${counts.refused} refused, ${counts.visits} visits`;
  const text = `${clients}${keepers[0]?.writable === false ? ", readonly" : ""}; ${shown(samples)}`;
  return { text, wrong };
}

/** What has grown. Memory goes up and down by itself, so it is only suspicious if it never went down. */
function more(idle: Held, samples: readonly Held[]): string[] {
  const [first = idle] = samples;
  const last = samples.at(-1) ?? idle;
  const rises = samples.every(({ rssKiB }, i) => rssKiB >= (samples[i - 1]?.rssKiB ?? 0));
  const wrong: string[] = [];
  if (rises && last.rssKiB > first.rssKiB + MORE_RSS_KIB) wrong.push("more memory");
  if (last.threads > Math.max(first.threads, idle.threads + MORE_THREADS)) {
    wrong.push("more threads");
  }
  if (last.descriptors > first.descriptors) wrong.push("more descriptors");
  if (last.pipes > idle.pipes + 2 * mostSparePipes) wrong.push("more pipes");
  if (last.files > first.files) wrong.push("more temporary files");
  return wrong;
}

function shown(samples: readonly Held[]): string {
  return (["rssKiB", "threads", "descriptors", "pipes", "files"] as const)
    .map((key) => `${key} ${samples.map((sample) => sample[key]).join(" ")}`)
    .join(", ");
}

process.stdout.write(`seed ${values.seed}\n`);
const end = performance.now() + seconds * 1000;
let bad = 0;
for (let i = 0; performance.now() < end; i++) {
  const number = values.only === undefined ? i : Number(values.only);
  // Each chain has a seed of its own, so that it can be repeated alone.
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
process.stdout.write(`${bad === 0 ? "no mistakes" : `${bad} servers with mistakes`}\n`);
process.exitCode = bad === 0 ? 0 : 1;
