/**
 * How fast a disk is copied through TLS, here and in nbdkit: `bun bench/tls.ts FOLDER [ROUNDS]`. The folder has
 * ca-cert.pem, server-cert.pem and server-key.pem. Rounds alternate between the servers.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const MiB = 256;
const [folder = ".", roundsText = "5"] = process.argv.slice(2);
const certificates = resolve(folder);
const rounds = Number(roundsText);

const work = mkdtempSync(join(tmpdir(), "nbdkit-bench-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));
const image = join(work, "image");
writeFileSync(image, crypto.getRandomValues(new Uint8Array(65536)));
const piece = await Bun.file(image).bytes();
const whole = new Uint8Array(MiB << 20);
// Each piece differs, so that nothing could be left out.
for (let at = 0; at < whole.length; at += piece.length) {
  whole.set(piece, at);
  new DataView(whole.buffer).setUint32(at, at);
}
writeFileSync(image, whole);

const servers = {
  ours: [process.execPath, join(import.meta.dir, "..", "src", "main.ts")],
  nbdkit: ["nbdkit"],
} as const;
type Name = keyof typeof servers;

/** MiB a second of one nbdcopy. */
async function copy(from: string, to: string, connections: number): Promise<number> {
  const start = performance.now();
  const child = Bun.spawn(["nbdcopy", `--connections=${connections}`, from, to]);
  if ((await child.exited) !== 0) throw new Error("nbdcopy failed");
  return (MiB * 1000) / (performance.now() - start);
}

/** The figures of one server, which starts anew. */
async function round(name: Name): Promise<Record<string, number>> {
  const socket = join(work, "socket");
  rmSync(socket, { force: true });
  const options = ["-f", "-U", socket, "--tls=require", `--tls-certificates=${certificates}`];
  const server = Bun.spawn([...servers[name], ...options, "memory", `${MiB}M`], {
    stderr: "inherit",
  });
  while (!existsSync(socket)) await Bun.sleep(5);
  const uri = `nbds+unix:///?socket=${socket}&tls-certificates=${certificates}`;
  const figures = {
    "write, 1 connection": await copy(image, uri, 1),
    "read, 1 connection": await copy(uri, "null:", 1),
    "write, 4 connections": await copy(image, uri, 4),
    "read, 4 connections": await copy(uri, "null:", 4),
  };
  const back = join(work, "back");
  await copy(uri, back, 1);
  const same = Buffer.from(whole.buffer).equals(await Bun.file(back).bytes());
  if (!same) throw new Error(`${name}: what came back is not what was written`);
  server.kill();
  await server.exited;
  return figures;
}

const found = new Map<string, Record<Name, number[]>>();
for (let i = 0; i < rounds; i++) {
  for (const name of ["ours", "nbdkit"] as const) {
    for (const [what, speed] of Object.entries(await round(name))) {
      const both = found.get(what) ?? { ours: [], nbdkit: [] };
      both[name].push(speed);
      found.set(what, both);
    }
  }
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0;

const lines = ["| case | ours | nbdkit | ratio |", "| --- | --- | --- | --- |"];
for (const [what, { ours, nbdkit }] of found) {
  const ratio = median(ours.map((speed, i) => speed / (nbdkit[i] ?? speed)));
  const speeds = [ours, nbdkit].map((all) => `${median(all).toFixed(0)} MiB/s`);
  lines.push(`| ${what} | ${speeds.join(" | ")} | ${ratio.toFixed(2)} |`);
}
process.stdout.write(lines.join("\n") + "\n");
