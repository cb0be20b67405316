/**
 * What the server allocates on JavaScript's heap for each request, between the client's bytes and the reply's. It feeds
 * a Transmission, without a socket, and counts with the garbage collector switched off. Each row is a process of its
 * own.
 *
 * usage: bun bench/allocations.ts [REQUESTS]
 */
import { heapStats } from "bun:jsc";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { NextOps } from "#api/generated/methods.gen";
import { clientOf, configuredChain } from "#test/chain";
import { request } from "#test/client";
import { defaults } from "#test/settings";

import offset from "../filters/offset/offset.ts";
import file from "../plugins/file/file.ts";
import memory from "../plugins/memory/memory.ts";
import { typescriptLayer } from "../src/modules/typescript.ts";
import { Blocks } from "../src/protocol/blocks.ts";
import { exportFacts } from "../src/protocol/export-flags.ts";
import { Gate } from "../src/protocol/gate.ts";
import { traced } from "../src/protocol/lifecycle-fixture.ts";
import { Lock } from "../src/protocol/lock.ts";
import { Output } from "../src/protocol/output.ts";
import { Transmission } from "../src/protocol/transmission.ts";

const size = 1n << 20n;
const count = 512;
/** Requests of one chunk of input, which stays below the size from which the server frees chunks. */
const perChunk = 28;

/** Types of requests, by name. */
const requests = {
  read: 0,
  write: 1,
  flush: 3,
  trim: 4,
  cache: 5,
  zero: 6,
  "block status": 7,
} as const;

type Kind = keyof typeof requests;

interface Case {
  readonly layers: "none" | "none, later" | "offset, memory" | "offset, file";
  readonly kind: Kind;
  readonly structured?: boolean;
  /** Each chunk of input has one request. */
  readonly single?: boolean;
}

const kinds = Object.keys(requests) as Kind[];
const cases: readonly Case[] = [
  ...kinds.map((kind) => ({ layers: "none", kind, structured: kind === "block status" }) as const),
  { layers: "none", kind: "read", structured: true },
  { layers: "none", kind: "read", single: true },
  ...kinds.map(
    (kind) => ({ layers: "offset, memory", kind, structured: kind === "block status" }) as const,
  ),
  { layers: "offset, file", kind: "read" },
  { layers: "offset, file", kind: "write" },
  { layers: "none, later", kind: "read" },
  { layers: "none, later", kind: "write" },
];

/** Layers that do nothing. */
function emptyLayers(answer: () => void | Promise<void>): NextOps {
  const ops: Partial<NextOps> = {
    pread: answer,
    pwrite: answer,
    flush: answer,
    trim: answer,
    zero: answer,
    cache: answer,
    extents: (length, from, _flags, extents) => extents.add(from, BigInt(length), 0),
  };
  // The transmission calls no other methods.
  return ops as NextOps;
}

async function layersOf(layers: Case["layers"], folder: string): Promise<NextOps> {
  if (layers === "none") return emptyLayers(() => {});
  if (layers === "none, later") return emptyLayers(() => Promise.resolve());
  const image = join(folder, "image");
  const length = Number(size) + count;
  writeFileSync(image, new Uint8Array(length).fill(1));
  const plugin = layers === "offset, memory" ? memory : file;
  const texts = layers === "offset, memory" ? { size: String(length) } : { file: image };
  const chain = await configuredChain(
    [typescriptLayer("filter", offset, "offset"), typescriptLayer("plugin", plugin, "plugin")],
    { ...texts, offset: String(count) },
  );
  const connection = chain.connect(clientOf(chain));
  await connection.open(false, "", false);
  await exportFacts(connection.top, chain);
  return connection.top;
}

/** A client that takes all replies. */
function transmissionTo(top: NextOps, structured: boolean) {
  const taken = { bytes: 0 };
  const sink = {
    write: (_bytes: Uint8Array, _start: number, length: number) => {
      taken.bytes += length;
      return length;
    },
    pause: () => {},
    resume: () => {},
  };
  const blocks = new Blocks();
  const { lifecycle } = traced("serving");
  const it = new Transmission({
    sink,
    output: new Output(sink, blocks, lifecycle),
    blocks,
    // The server offers everything that it has flags for.
    export: {
      top,
      size,
      eflags: 0xffff & ~2,
      canExtents: true,
      structured,
      allocation: true,
      close: async () => {},
    },
    logName: "bench",
    policy: defaults.policy,
    gate: new Gate("parallel", new Lock()),
    lifecycle,
  });
  return { it, taken };
}

function chunkOf({ kind, single }: Case): Uint8Array {
  const type = requests[kind];
  const all = Array.from({ length: single === true ? 1 : perChunk }, (_, i) => {
    if (kind === "flush") return request({ type });
    // JavaScriptCore needs no memory for an offset of 0.
    const where = BigInt((i + 1) * count);
    if (kind === "write") return request({ type, offset: where, payload: new Uint8Array(count) });
    return request({ type, offset: where, count });
  });
  return Uint8Array.from(Buffer.concat(all));
}

function replyBytes({ kind, structured }: Case): number {
  if (kind === "block status") return 32;
  if (kind !== "read") return 16;
  return count + (structured === true ? 28 : 16);
}

async function measure(it: Case, times: number): Promise<string> {
  const folder = mkdtempSync("/dev/shm/nbdkit-allocations-");
  const top = await layersOf(it.layers, folder);
  const { it: transmission, taken } = transmissionTo(top, it.structured === true);
  const chunk = chunkOf(it);
  const each = it.single === true ? 1 : perChunk;
  const expected = each * replyBytes(it);
  const run = async (number: number) => {
    for (let done = 0; done < number; done += each) {
      const end = taken.bytes + expected;
      transmission.feed(chunk);
      while (taken.bytes < end) await new Promise(setImmediate);
    }
  };
  // Until all code is compiled.
  await run(times / 2);
  const before = heapStats();
  await run(times);
  const after = heapStats();
  rmSync(folder, { recursive: true });
  const grown = (name: "heapCapacity" | "extraMemorySize") => (after[name] - before[name]) / times;
  const types: string[] = [];
  let objects = 0;
  for (const [type, number] of Object.entries(after.objectTypeCounts)) {
    const more = (number - (before.objectTypeCounts[type] ?? 0)) / times;
    objects += more;
    if (more >= 0.02) types.push(`${type} ${more.toFixed(2)}`);
  }
  const { layers, kind, structured, single } = it;
  const form = kind === "read" && structured === true ? ", structured reply" : "";
  const name = `${kind}${form}${single === true ? ", one in a chunk" : ""}`;
  const bytes = grown("heapCapacity") + grown("extraMemorySize");
  return `| ${layers} | ${name} | ${objects.toFixed(2)} | ${bytes.toFixed(0)} | ${types.join(", ")} |`;
}

const [argument = "1000000", row] = process.argv.slice(2);
const times = Number(argument);
const chosen = cases[Number(row)];
if (row !== undefined && chosen !== undefined) {
  process.stdout.write(`${await measure(chosen, times)}\n`);
  process.exit(0);
}
process.stdout.write("| layers | request | objects | bytes | which |\n");
process.stdout.write("| --- | --- | --- | --- | --- |\n");
for (const [i, { layers }] of cases.entries()) {
  const some = layers === "none, later" ? times / 10 : times;
  const { exitCode } = Bun.spawnSync(
    [process.execPath, import.meta.path, String(some), String(i)],
    { env: { ...process.env, BUN_JSC_useGC: "0" }, stdout: "inherit", stderr: "inherit" },
  );
  if (exitCode !== 0) process.exit(1);
}
