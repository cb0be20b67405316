/** Looks for scripts that make the server fail, in this process, and then in other processes through their sockets. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { commandLine } from "./command-line.ts";
import { distilled, type Failure, Fuzzer } from "./fuzzer.ts";
import { minimised } from "./minimise.ts";
import { format, parse, type Script } from "./script.ts";
import { playOverSockets } from "./socket-play.ts";

const usage = `usage: bun test/fuzz/main.ts [--seed N] [--seconds N] [--messages N] [--socket-seconds N] [--corpus FOLDER]
       bun test/fuzz/main.ts --play FILE...

It ends after these seconds or messages, whichever comes first. --corpus: write the scripts to keep into FOLDER.
--play: play the scripts in files.
`;

const { values, positionals } = commandLine(usage, {
  seed: { type: "string", default: `${Date.now() % 1_000_000}` },
  seconds: { type: "string", default: "60" },
  messages: { type: "string", default: "Infinity" },
  "socket-seconds": { type: "string", default: "0" },
  corpus: { type: "string" },
  play: { type: "boolean", default: false },
});

/** The most that this process may grow after a quarter of its time. */
const mostGrowthBytes = 128 << 20;

process.exitCode = values.play ? await replay(positionals) : await search();

async function replay(files: readonly string[]): Promise<number> {
  await using fuzzer = await Fuzzer.open();
  let failed = 0;
  for (const file of files) {
    const error = await fuzzer.attempt(parse(readFileSync(file, "utf8")), true);
    say(`${file}: ${error === undefined ? "passes" : error.stack}`);
    if (error !== undefined) failed = 1;
  }
  return failed;
}

async function search(): Promise<number> {
  const seed = Number(values.seed);
  say(`seed ${seed}`);
  await using fuzzer = await Fuzzer.open();
  const known = join(import.meta.dirname, "corpus");
  for (const name of readdirSync(known)) {
    await fuzzer.attempt(parse(readFileSync(join(known, name), "utf8")), true);
  }
  const failed = (await inProcess(fuzzer, seed)) || (await overSockets(seed));
  if (failed) return 1;
  const { corpus } = values;
  if (corpus !== undefined) {
    mkdirSync(corpus, { recursive: true });
    const kept = await distilled(fuzzer);
    kept.forEach((it, i) => writeFileSync(join(corpus, `${i}.txt`), format(it)));
    say(`${kept.length} scripts written to ${corpus}`);
  }
  return 0;
}

/** Returns whether a script failed, or memory grew too much. */
async function inProcess(fuzzer: Fuzzer, seed: number): Promise<boolean> {
  const most = Number(values.messages);
  const end = performance.now() + Number(values.seconds) * 1000;
  const start = performance.now();
  const runUntil = (messages: number, time: number) =>
    fuzzer.run(seed, () => fuzzer.messages < messages && performance.now() < time);
  let failure = await runUntil(most / 4, start + (end - start) / 4);
  const before = residentBytes();
  failure ??= await fuzzer.run(seed + 1, () => fuzzer.messages < most && performance.now() < end);
  const grown = residentBytes() - before;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  say(
    `${fuzzer.messages} messages in ${fuzzer.scripts} scripts, ${seconds} s, ${fuzzer.features} features seen, ` +
      `${fuzzer.corpus.length} scripts kept, memory grew by ${grown >> 20} MiB`,
  );
  if (failure !== undefined) return reported(failure, fuzzer);
  if (grown <= mostGrowthBytes) return false;
  say(`memory grew too much: expected at most ${mostGrowthBytes >> 20} MiB`);
  return true;
}

async function overSockets(seed: number): Promise<boolean> {
  const seconds = Number(values["socket-seconds"]);
  if (seconds === 0) return false;
  const result = await playOverSockets(seed, seconds);
  if ("error" in result) return reported(result);
  say(`${result.messages} messages in ${result.scripts} scripts over sockets, ${seconds} s`);
  return false;
}

async function reported({ error, script }: Failure, fuzzer?: Fuzzer): Promise<true> {
  say(error.stack ?? error.message);
  const fails = async (it: Script) => (await fuzzer?.attempt(it)) !== undefined;
  say("# Keep this in test/fuzz/corpus, under a name that describes the fault:");
  say(format(fuzzer === undefined ? script : await minimised(script, fails)));
  return true;
}

function residentBytes(): number {
  Bun.gc(true);
  return process.memoryUsage.rss();
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
