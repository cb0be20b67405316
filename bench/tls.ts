/**
 * Measures the cost of TLS, here and in nbdkit: the time and the server's processor time of copies of 256 MiB by
 * nbdcopy, and of random reads of 4 KiB at a depth of 32. Rounds alternate between the servers. The certificates are
 * temporary.
 *
 * usage: bun bench/tls.ts [ROUNDS]
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { runCompiler, temporaryFolder } from "#test/modules";
import { installed, run, serve, type Served } from "#test/server";

import { pki } from "../test/tls/certificates.ts";

const MiB = 256;
const readSeconds = 1.5;
const rounds = Number(process.argv[2] ?? 5);

const servers = { ours: {}, nbdkit: { program: ["nbdkit"] } } as const;
type Name = keyof typeof servers;

/** The figures of one run, by name. Less is better. */
type Figures = Readonly<Record<string, number>>;

for (const name of ["certtool", "nbdcopy", "nbdkit"]) {
  if (installed(name)) continue;
  process.stderr.write(`bench/tls.ts: ${name} is not installed\n`);
  process.exit(1);
}
const { server: certificates, psk } = await pki();
const folder = temporaryFolder();
const image = join(folder, "image");
const whole = imageBytes();
writeFileSync(image, whole);
const reader = await compiledReader();
const found = new Map<string, Record<Name, number[]>>();
for (let i = 0; i < rounds; i++) {
  for (const name of ["ours", "nbdkit"] as const) {
    const figures = { ...(await withCertificates(name)), ...(await withKeys(name)) };
    for (const [what, figure] of Object.entries(figures)) {
      const both = found.get(what) ?? { ours: [], nbdkit: [] };
      both[name].push(figure);
      found.set(what, both);
    }
  }
}
report();

/** An image whose pieces all differ, so that missing ones are detected. */
function imageBytes(): Uint8Array {
  const piece = crypto.getRandomValues(new Uint8Array(65536));
  const bytes = new Uint8Array(MiB << 20);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += piece.length) {
    bytes.set(piece, at);
    view.setUint32(at, at);
  }
  return bytes;
}

/** The client for small reads, if libnbd's header is installed. */
async function compiledReader(): Promise<string | undefined> {
  const program = join(folder, "reads");
  const source = join(import.meta.dir, "reads.c");
  try {
    await runCompiler(["-O2", "-o", program, source, "-lnbd"], source);
    return program;
  } catch (error) {
    process.stderr.write(`no small reads: ${error instanceof Error ? error.message : error}\n`);
    return undefined;
  }
}

/** A new server. */
function started(name: Name, option: string): Promise<Served> {
  return serve(["--tls=require", option, "memory", `${MiB}M`], servers[name]);
}

/** The figures of copies to the server and back. */
async function copied(
  server: Served,
  uri: string,
  connections: number,
  what: string,
): Promise<Figures> {
  const nbdcopy = ["nbdcopy", `--connections=${connections}`];
  const write = await measured(server, [...nbdcopy, image, uri]);
  const read = await measured(server, [...nbdcopy, uri, "null:"]);
  return {
    [`write ${MiB} MiB, ${what}: ms`]: write.ms,
    [`write ${MiB} MiB, ${what}: the server's CPU ms`]: write.cpu,
    [`read ${MiB} MiB, ${what}: ms`]: read.ms,
    [`read ${MiB} MiB, ${what}: the server's CPU ms`]: read.cpu,
  };
}

async function withKeys(name: Name): Promise<Figures> {
  await using server = await started(name, `--tls-psk=${psk}`);
  const uri = `nbds+unix://alice@/?socket=${server.socket}&tls-psk-file=${psk}`;
  return await copied(server, uri, 1, "keys");
}

async function withCertificates(name: Name): Promise<Figures> {
  await using server = await started(name, `--tls-certificates=${certificates}`);
  const uri = `nbds+unix:///?socket=${server.socket}&tls-certificates=${certificates}`;
  const figures: Record<string, number> = {
    ...(await copied(server, uri, 1, "1 connection")),
    ...(await copied(server, uri, 1, "1 connection, again")),
    ...(await copied(server, uri, 4, "4 connections")),
  };
  if (reader !== undefined) {
    const words = [reader, uri, "4096", "32", String(readSeconds)];
    const { cpu, stdout } = await measured(server, words);
    const [rate = 0, p50 = 0] = stdout.split(" ").map(Number);
    figures["4 KiB reads, depth 32: p50 us"] = p50;
    figures["4 KiB reads, depth 32: us each"] = 1e6 / rate;
    figures["4 KiB reads, depth 32: the server's CPU us each"] =
      (cpu * 1000) / (rate * readSeconds);
  }
  const back = join(folder, "back");
  await measured(server, ["nbdcopy", uri, back]);
  if (!readFileSync(back).equals(Buffer.from(whole.buffer))) {
    throw new Error(`${name}: the copy differs from the image`);
  }
  return figures;
}

/** Run a client. Returns its output, the time it took, and the server's processor time meanwhile. */
async function measured(server: Served, words: readonly string[]) {
  const before = cpuMs(server.process.pid);
  const start = performance.now();
  const { code, stderr, stdout } = await run(words);
  const ms = performance.now() - start;
  if (code !== 0) throw new Error(`${words.join(" ")} ended with ${code}:\n${stderr}`);
  return { stdout, ms, cpu: cpuMs(server.process.pid) - before };
}

/** User and system time of all threads, in steps of 10 ms. */
function cpuMs(pid: number): number {
  const [, fields = ""] = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ");
  const words = fields.split(" ");
  return (Number(words[11]) + Number(words[12])) * 10;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0;
}

function report(): void {
  const lines = ["| case | ours | nbdkit | nbdkit / ours |", "| --- | --- | --- | --- |"];
  for (const [what, { ours, nbdkit }] of found) {
    const ratio = median(ours.map((figure, i) => (nbdkit[i] ?? figure) / figure));
    const digits = median(ours) < 100 ? 1 : 0;
    const figures = [ours, nbdkit].map((all) => median(all).toFixed(digits));
    lines.push(`| ${what} | ${figures.join(" | ")} | ${ratio.toFixed(2)} |`);
  }
  process.stdout.write(`${lines.join("\n")}\n`);
}
