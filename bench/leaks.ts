/**
 * Measures the bytes of the C heap that each client leaves behind, by layer: all genuine filters, filters of the first
 * releases, ours, and plugins. nbdkit is measured with the same chain, if it can run it, to find out whose bytes they
 * are.
 *
 * usage: bun bench/leaks.ts [--clients=300] [NAME...]
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { NbdClient } from "#test/client";
import { compileModule } from "#test/modules";
import { installed, serve } from "#test/server";

import { filters as recipes, plugins as genuinePlugins } from "../test/stock/stack-recipes.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { clients: { type: "string", default: "300" } },
});
const clients = Number(values.clients);
/**
 * The number of uncounted clients before, after which everything that is allocated once exists. Ours keeps the last
 * 4,096 `nxdata`, so that it can refuse late calls through them; the counting filter takes three for each client.
 */
const early = { ours: 1500, nbdkit: 150 };

const READ = 0;
const WRITE = 1;
const DISCONNECT = 2;
const FLUSH = 3;
const TRIM = 4;
const CACHE = 5;
const ZERO = 6;
const BLOCK_STATUS = 7;
/** The requests of a client, and the export's flag that permits them. */
const requests = [
  { type: READ, flag: 0 },
  { type: WRITE, flag: -2 },
  { type: FLUSH, flag: 4 },
  { type: TRIM, flag: 32 },
  { type: ZERO, flag: 64 },
  { type: CACHE, flag: 1024 },
  { type: READ, flag: 0 },
  { type: BLOCK_STATUS, flag: 0 },
] as const;
const bytes = 8192;

interface Subject {
  readonly name: string;
  readonly filters: readonly string[];
  readonly plugin: string;
  readonly params: readonly string[];
  /** The modules' names for nbdkit, if it can run them. */
  readonly genuine?: { readonly filters: readonly string[]; readonly plugin: string };
}

const memory = ["size=1M"];

async function subjects(): Promise<Subject[]> {
  const bare = { filters: [], plugin: "memory" };
  const below = { plugin: "memory", params: memory };
  const genuine = Object.entries(recipes)
    // The partition filter needs another disk, and allocates nothing for clients.
    .filter(([name]) => name !== "partition")
    .map(([name, [params]]) => ({
      name: `native:${name}`,
      filters: [`native:${name}`],
      plugin: "memory",
      params: [...params, ...memory],
      genuine: { filters: [name], plugin: "memory" },
    }));
  const plugins = Object.entries(genuinePlugins).map(([name, [params]]) => ({
    name: `native:${name} (plugin)`,
    filters: [],
    plugin: `native:${name}`,
    params,
    genuine: { filters: [], plugin: name },
  }));
  const old = (source: string, ...params: string[]) =>
    compileModule(source).then((file) => ({
      name: source,
      ...below,
      filters: [file],
      params: [...params, ...memory],
    }));
  const ours = (name: string, ...params: string[]) => ({
    name,
    ...below,
    filters: [name],
    params: [...params, ...memory],
  });
  return [
    { name: "nothing", ...bare, params: memory, genuine: bare },
    ...genuine,
    ...plugins,
    await old("examples/xor/xor.c", "xor-key=1"),
    await old("examples/tail-guard/tail-guard.c", "guard=4k"),
    await old("test/fixtures/rmw.c"),
    await old("test/fixtures/background.c"),
    ours("cow"),
    ours("delay", "rdelay=1ms"),
    ours("error", "error-rate=0%"),
    ours("offset", "offset=512"),
    { name: "file (plugin)", filters: [], plugin: "file", params: ["FOLDER/disk"] },
    { name: "null (plugin)", filters: [], plugin: "null", params: ["size=1M"] },
  ];
}

/** Run one client: it negotiates, sends one request of each kind, and leaves. */
async function visit(socket: string): Promise<void> {
  const { client, export: disk } = await NbdClient.structured({ unix: socket });
  for (const { type, flag } of requests) {
    // Writes are allowed unless the export is read-only.
    const may = flag === 0 || (flag < 0 ? !(disk.eflags & -flag) : (disk.eflags & flag) !== 0);
    if (!may || (type !== READ && type !== BLOCK_STATUS && disk.eflags & 2)) continue;
    client.request(
      type === WRITE
        ? { type, payload: new Uint8Array(bytes) }
        : type === FLUSH
          ? { type }
          : { type, count: bytes },
    );
    while (!(await lastPart(client)));
  }
  client.request({ type: DISCONNECT });
  await client.closed;
}

/** Read one chunk of a reply, or a simple reply. Returns whether it is the last one. Errors are ignored. */
async function lastPart(client: NbdClient): Promise<boolean> {
  if (await client.structuredIsNext()) return ((await client.chunk()).flags & 1) !== 0;
  await client.reply();
  return true;
}

/** The minimum of a few measurements, since the last client may not be closed yet. */
async function inUse(socket: string, file: string): Promise<number> {
  writeFileSync(file, "");
  for (let i = 0; i < 8; i++) await visit(socket);
  return Math.min(...readFileSync(file, "utf8").trim().split("\n").map(Number));
}

/** The bytes that each client leaves behind. */
async function measure(
  subject: Omit<Subject, "name">,
  program?: readonly string[],
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-leaks-"));
  try {
    prepare(folder);
    const heap = await compileModule("bench/heap.c");
    const file = join(folder, "heap");
    const params = subject.params.map((word) => word.replaceAll("FOLDER", folder));
    const filters = [heap, ...subject.filters].map((name) => `--filter=${name}`);
    await using server = await serve(
      [...filters, subject.plugin, ...params, `heap-file=${file}`],
      // The caches of threads would count as used.
      { env: { GLIBC_TUNABLES: "glibc.malloc.tcache_count=0" }, ...(program && { program }) },
    );
    const first = program === undefined ? early.ours : early.nbdkit;
    for (let i = 0; i < first; i++) await visit(server.socket);
    const before = await inUse(server.socket, file);
    for (let i = 0; i < clients; i++) await visit(server.socket);
    const after = await inUse(server.socket, file);
    return (after - before) / (clients + 8);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function prepare(folder: string): void {
  writeFileSync(join(folder, "disk"), Buffer.alloc(1 << 20, "text "));
  writeFileSync(join(folder, "list"), "0 16K\n16K 32K hole,zero\n");
  writeFileSync(join(folder, "map"), "0x0 +\n0x0 0x100000 +\n");
}

const shown = (result: number | Error) =>
  typeof result === "number"
    ? result.toFixed(1)
    : (result.message.split("\n")[1] ?? result.message);

async function measured(
  subject: Omit<Subject, "name">,
  program?: readonly string[],
): Promise<string> {
  try {
    return shown(await measure(subject, program));
  } catch (error) {
    return shown(error instanceof Error ? error : new Error(String(error)));
  }
}

process.stdout.write("| layer | ours | nbdkit |\n| --- | --- | --- |\n");
for (const subject of await subjects()) {
  const { genuine, name } = subject;
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const ours = await measured(subject);
  const peer =
    genuine !== undefined && installed("nbdkit")
      ? await measured({ ...subject, ...genuine }, ["nbdkit"])
      : "";
  process.stdout.write(`| ${name} | ${ours} | ${peer} |\n`);
}
