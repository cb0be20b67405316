/** The demonstration: a C filter and a TypeScript filter in one chain, and a copy taken through both. */
import { randomFillSync } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";

import { installPackages } from "./debian.ts";

const KIB = 1024;
const HEADER_BYTES = 64 * KIB;
const DISK_BYTES = 4 * KIB * KIB;
const KEY = 0x5a;
/** Request types of the NBD protocol. */
const READ = 0;
const DISCONNECT = 2;
const DEADLINE_MS = 120_000;

const root = join(import.meta.dirname, "..");

const folder = mkdtempSync(join(tmpdir(), "nbdkit-demo-"));
let running: Bun.Subprocess | undefined;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    cleanUp();
    process.exit(1);
  });
}
try {
  await demo();
} catch (error) {
  say(`\nThe demonstration failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  cleanUp();
}

async function demo(): Promise<void> {
  needCompiler();
  const image = randomFillSync(new Uint8Array(HEADER_BYTES + DISK_BYTES));
  await Bun.write(join(folder, "disk.img"), image);
  say(`Made disk.img: a header of ${HEADER_BYTES / KIB} KiB, then a disk of 4 MiB of random data.`);

  await compileFilter();
  say("Compiled the C filter examples/xor/xor.c, which uses nbdkit's first filter API, to xor.so.");

  const args = ["-U", "sock", "--filter=./xor.so", "--filter=offset", "file", "file=disk.img"];
  args.push(`offset=${HEADER_BYTES}`, `xor-key=${KEY}`);
  const server = startServer(args);
  say(`Serving it:\n\n    nbdkit ${args.join(" ")}\n`);
  say("Each read goes through xor (C), then offset (TypeScript), then file (TypeScript).");

  await untilServing(server);
  const copy = await copyDisk();
  compare(copy, image.subarray(HEADER_BYTES));
  say(
    "The copy is the disk without its header, every byte changed by the C filter, as it should be.",
  );

  server.kill("SIGTERM");
  if ((await server.exited) !== 0) throw new Error(`the server ended with ${ending(server)}`);
  say("The server stopped cleanly, and nothing is left behind. All is well.");
}

function needCompiler(): void {
  if (Bun.which("cc") !== null) return;
  installPackages(["gcc", "libc6-dev"], say);
  if (Bun.which("cc") !== null) return;
  throw new Error(
    "there is no C compiler (cc), and C modules need one: on Debian, `apt-get install gcc libc6-dev`",
  );
}

async function compileFilter(): Promise<void> {
  const options = ["-shared", "-fPIC", `-I${join(root, "include")}`, "-o", "xor.so"];
  await finish(["cc", ...options, join(root, "examples/xor/xor.c")], "the C compiler");
}

function startServer(args: readonly string[]): Bun.Subprocess {
  running = Bun.spawn(
    [process.execPath, join(root, "src/main.ts"), "-f", "-P", "ready.pid", ...args],
    {
      cwd: folder,
      stdio: ["ignore", "inherit", "inherit"],
    },
  );
  return running;
}

/** The server writes its pid file when it is ready. The first start compiles the native runtime. */
async function untilServing(server: Bun.Subprocess): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!existsSync(join(folder, "ready.pid"))) {
    if (server.exitCode !== null || server.signalCode !== null) {
      throw new Error(`the server did not start: it ended with ${ending(server)}`);
    }
    if (performance.now() > deadline) throw new Error("the server did not start in 2 minutes");
    await Bun.sleep(20);
  }
}

/** The disk as a client sees it: read by nbdcopy if it is installed, otherwise by our own client. */
async function copyDisk(): Promise<Uint8Array> {
  if (Bun.which("nbdcopy") !== null) {
    await finish(["nbdcopy", "nbd+unix:///?socket=sock", "copy.img"], "nbdcopy");
    say("Copied it out with nbdcopy.");
    return Bun.file(join(folder, "copy.img")).bytes();
  }
  const { client, export: disk } = await NbdClient.ready({ unix: join(folder, "sock") });
  await using connection = client;
  const { error, data } = await connection.ask({
    type: READ,
    offset: 0n,
    count: Number(disk.size),
  });
  if (error !== 0) throw new Error(`reading the disk failed with error ${error}`);
  connection.request({ type: DISCONNECT });
  await connection.sent();
  say("Copied it out with the project's own client, since nbdcopy is not installed.");
  return data;
}

function compare(copy: Uint8Array, disk: Uint8Array): void {
  if (copy.length !== disk.length) {
    throw new Error(`the copy has ${copy.length} bytes, not ${disk.length}`);
  }
  const wrong = disk.findIndex((byte, index) => copy[index] !== (byte ^ KEY));
  if (wrong >= 0) throw new Error(`the copy is wrong from byte ${wrong} on`);
}

async function finish(command: readonly string[], what: string): Promise<void> {
  const child = Bun.spawn([...command], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: DEADLINE_MS,
  });
  if ((await child.exited) !== 0) throw new Error(`${what} ended with ${ending(child)}`);
}

function ending(child: Bun.Subprocess): string {
  return child.signalCode === null ? `status ${child.exitCode}` : `signal ${child.signalCode}`;
}

function cleanUp(): void {
  running?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
