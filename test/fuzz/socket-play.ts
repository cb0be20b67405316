/** Plays scripts to spawned servers through their sockets. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { serve, type Served } from "#test/server";

import { check, type Facts } from "./check.ts";
import type { Failure } from "./fuzzer.ts";
import { script } from "./grammar.ts";
import { mutated } from "./mutate.ts";
import type { Transcript } from "./play.ts";
import { Random } from "./random.ts";
import type { Step } from "./script.ts";

const usual: Facts = {
  maskHandshake: 0xffff,
  metaContexts: true,
  structuredReplies: true,
  oldstyle: false,
  tls: "off",
};

/** The options of the servers, and their effects. */
const servers: readonly { readonly options: readonly string[]; readonly facts: Facts }[] = [
  { options: [], facts: usual },
  { options: ["-r", "--no-mc"], facts: { ...usual, metaContexts: false } },
  {
    options: ["--no-sr", "--mask-handshake=1"],
    facts: { ...usual, structuredReplies: false, maskHandshake: 1 },
  },
  { options: ["-o"], facts: { ...usual, oldstyle: true } },
];

const clientsAtOnce = 8;
/** The number of scripts before a server's memory is measured for the first time. */
const warmUp = 200;
/** The most that a server may grow from then on, since the collector runs late. */
const mostGrowthKiB = 96 << 10;

export interface SocketRun {
  messages: number;
  scripts: number;
}

/** Play scripts to one server after the other, for `seconds` in total. */
export async function playOverSockets(seed: number, seconds: number): Promise<SocketRun | Failure> {
  const total: SocketRun = { messages: 0, scripts: 0 };
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-fuzz-"));
  try {
    const plugin = join(folder, "flaky-plugin.ts");
    writeFileSync(
      plugin,
      `import { flakyPlugin, FlakyDisk } from ${JSON.stringify(join(import.meta.dirname, "flaky-plugin.ts"))};\n` +
        `export default flakyPlugin(new FlakyDisk("either"));\n`,
    );
    for (const { options, facts } of servers) {
      await using server = await serve([...options, plugin]);
      const until = performance.now() + (seconds * 1000) / servers.length;
      const random = new Random(seed);
      const failure = await playTo(server, facts, { random, until, total });
      if (failure !== undefined) return failure;
      const { code, stderr } = await server.stop();
      // A stack trace is what a bug leaves behind.
      if (code !== 0 || /^ +at /m.test(stderr)) {
        throw new Error(`the server ended with ${code}:\n${stderr.slice(-4000)}`);
      }
    }
    return total;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Run {
  readonly random: Random;
  readonly until: number;
  readonly total: SocketRun;
}

async function playTo(
  server: Served,
  facts: Facts,
  { random, until, total }: Run,
): Promise<Failure | undefined> {
  let before = 0;
  let failure: Failure | undefined;
  const first = total.scripts;
  let last = script(random);
  const client = async (): Promise<void> => {
    while (performance.now() < until && failure === undefined) {
      const it = random.once(2) ? script(random) : mutated(random, last, script(random));
      last = it;
      try {
        const { messages } = check(facts, it, await playOver(server.socket, it.steps));
        total.messages += messages;
        total.scripts++;
      } catch (error) {
        failure ??= {
          script: it,
          error: error instanceof Error ? error : new Error(String(error)),
        };
      }
      if (before === 0 && total.scripts - first > warmUp) before = rssKiB(server.process.pid);
    }
  };
  await Promise.all(Array.from({ length: clientsAtOnce }, client));
  if (failure !== undefined || before === 0) return failure;
  const grown = rssKiB(server.process.pid) - before;
  if (grown > mostGrowthKiB) throw new Error(`the server grew by ${grown} KiB`);
  return undefined;
}

function rssKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** Play the steps that a client can do, then end its input. */
async function playOver(socket: string, steps: readonly Step[]): Promise<Transcript> {
  await using client = await NbdClient.connect({ unix: socket });
  let cut = false;
  for (const step of steps) {
    if (step.kind === "send") client.send(step.data);
    else if (step.kind === "take") client.pause();
    else if (step.kind === "drain") client.resume();
    else if (step.kind === "turn") await turn();
    if (step.kind === "end" || step.kind === "reset") {
      cut = step.kind === "reset";
      break;
    }
  }
  if (cut) client.terminate();
  client.resume();
  // Send everything before the end.
  void client.sent().then(() => client.shutdown());
  await client.closed;
  return { output: await client.take(client.available), lines: [], cut };
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
