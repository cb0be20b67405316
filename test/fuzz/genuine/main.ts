/** Plays the same sessions to this server and to the genuine nbdkit, and compares their answers. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { commandLine } from "../command-line.ts";
import { minimised } from "../minimise.ts";
import { format, parse, type Script } from "../script.ts";
import { pairConfiguration, pairConfigurations } from "./configurations.ts";
import { Pair } from "./pair.ts";
import { Search } from "./search.ts";

const usage = `usage: bun test/fuzz/genuine/main.ts [--seed N] [--seconds N] [--sessions N] [--configurations TEXT]
                                      [--keep FOLDER]
       bun test/fuzz/genuine/main.ts --play FILE...

--seconds, --sessions: the limits for each configuration. --configurations: only those with TEXT in their names.
--keep: write sessions in which the servers differ into FOLDER, instead of printing them.
--play: play the sessions in files.
`;

const { values, positionals } = commandLine(usage, {
  seed: { type: "string", default: `${Date.now() % 1_000_000}` },
  seconds: { type: "string", default: "10" },
  sessions: { type: "string", default: "Infinity" },
  configurations: { type: "string", default: "" },
  keep: { type: "string" },
  play: { type: "boolean", default: false },
});

const shorteningMs = 15_000;

process.exitCode = values.play ? await replay(positionals) : await searchAll();

async function replay(files: readonly string[]): Promise<number> {
  let failed = 0;
  for (const file of files) {
    const it = parse(readFileSync(file, "utf8"));
    await using pair = await Pair.open(pairConfiguration(it.configuration));
    const { mistake, met } = await pair.play(it);
    const names = met.map(({ name }) => name).join(", ");
    say(`${file}: ${mistake ?? "alike"}${names === "" ? "" : `, but for ${names}`}`);
    if (mistake !== undefined) failed = 1;
  }
  return failed;
}

async function searchAll(): Promise<number> {
  const seed = Number(values.seed);
  const search = new Search();
  say(`seed ${seed}`);
  let mistakes = 0;
  for (const configuration of pairConfigurations().filter(({ name }) =>
    name.includes(values.configurations),
  )) {
    await using pair = await Pair.open(configuration);
    const until = performance.now() + Number(values.seconds) * 1000;
    const most = search.sessions + Number(values.sessions);
    const goOn = () => performance.now() < until && search.sessions < most;
    const failure = await search.run(pair, seed, goOn);
    say(`${configuration.name}: ${failure?.mistake ?? "alike"}`);
    if (failure === undefined) continue;
    mistakes++;
    keep(configuration.name, format(await shortened(pair, failure.script)));
  }
  const met = [...search.met].map(([name, count]) => `${name} ${count}`).join(", ");
  say(`${search.sessions} sessions, ${search.messages} messages; stated differences: ${met}`);
  return mistakes === 0 ? 0 : 1;
}

function keep(configuration: string, text: string): void {
  if (values.keep === undefined) return say(text);
  mkdirSync(values.keep, { recursive: true });
  writeFileSync(join(values.keep, `${configuration.replaceAll("/", "+")}.txt`), text);
}

/** The shortest part of the script that still fails. */
async function shortened(pair: Pair, script: Script): Promise<Script> {
  const until = performance.now() + shorteningMs;
  const fails = async (it: Script) => {
    if (performance.now() > until) return false;
    const { mistake } = await pair.play(it);
    if (mistake?.includes(" ended: ") === true) await pair.renew();
    return mistake !== undefined;
  };
  await pair.renew();
  if (!(await fails(script))) {
    say("# New servers do not differ: the failure depends on earlier sessions.");
    return script;
  }
  return minimised(script, fails);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
