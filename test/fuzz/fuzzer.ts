/**
 * Plays scripts to connections in this process: new ones from the grammar, and mutations of a corpus, to which every
 * script with a new feature is added.
 */
import { log } from "../../src/lib/log.ts";
import { check, type Checked } from "./check.ts";
import { configurationNames, type FuzzServer, openServer } from "./configurations.ts";
import type { Features } from "./features.ts";
import { script } from "./grammar.ts";
import { mutated } from "./mutate.ts";
import { play } from "./play.ts";
import { Random } from "./random.ts";
import type { Script } from "./script.ts";

export interface Failure {
  readonly script: Script;
  readonly error: Error;
}

/** One in this many scripts is played with debug lines, which take longer than everything else. */
const verboseEvery = 16;
/** Larger scripts are not kept, since mutations copy them. */
const mostKeptBytes = 256 << 10;

export class Fuzzer implements AsyncDisposable {
  scripts = 0;
  messages = 0;
  readonly corpus: Script[] = [];
  readonly #seen: Features = new Set();
  readonly #servers: ReadonlyMap<string, FuzzServer>;

  private constructor(servers: ReadonlyMap<string, FuzzServer>) {
    this.#servers = servers;
  }

  static async open(): Promise<Fuzzer> {
    const servers = new Map<string, FuzzServer>();
    for (const name of configurationNames) servers.set(name, await openServer(name));
    return new Fuzzer(servers);
  }

  get features(): number {
    return this.#seen.size;
  }

  /** Play scripts until `goOn` returns false, or one fails. */
  async run(seed: number, goOn: () => boolean): Promise<Failure | undefined> {
    const random = new Random(seed);
    while (goOn()) {
      const next = this.#next(random);
      const error = await this.attempt(next, random.once(verboseEvery));
      if (error !== undefined) return { script: next, error };
    }
    return undefined;
  }

  /** Play one script, and keep it if it shows a new feature. Returns the server's mistake. */
  async attempt(it: Script, verbose = false): Promise<Error | undefined> {
    try {
      const { features, messages } = await this.#play(it, verbose);
      this.scripts++;
      this.messages += messages;
      const before = this.#seen.size;
      for (const feature of features) this.#seen.add(feature);
      if (this.#seen.size > before && sizeOf(it) <= mostKeptBytes) this.corpus.push(it);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  /** All features that a script shows, new or not. */
  async featuresOf(it: Script): Promise<Features> {
    return (await this.#play(it, true)).features;
  }

  async #play(it: Script, verbose: boolean): Promise<Checked> {
    const server = this.#servers.get(it.configuration);
    if (server === undefined) throw new Error(`no such server: ${it.configuration}`);
    log.verbose = verbose;
    try {
      return check(server.facts, it, await play(server, it.steps));
    } finally {
      log.verbose = false;
    }
  }

  #next(random: Random): Script {
    if (this.corpus.length < 8 || random.once(3)) return script(random);
    return mutated(random, random.pick(this.corpus), random.pick(this.corpus));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers.values()) await server[Symbol.asyncDispose]();
  }
}

/** Larger scripts of a corpus are not written to files. */
const mostBytes = 1500;
/** A script that shows fewer features that no other script shows is left out. */
const fewest = 3;

/** A few scripts that together show most features of the short scripts in the corpus. */
export async function distilled(fuzzer: Fuzzer): Promise<readonly Script[]> {
  const left: { readonly it: Script; readonly shows: Features }[] = [];
  for (const it of fuzzer.corpus) {
    if (sizeOf(it) <= mostBytes) left.push({ it, shows: await fuzzer.featuresOf(it) });
  }
  const kept: Script[] = [];
  for (;;) {
    const best = left.toSorted((a, b) => b.shows.size - a.shows.size)[0];
    if (best === undefined || best.shows.size < fewest) return kept;
    kept.push(best.it);
    const { shows } = best;
    for (const feature of [...shows]) for (const one of left) one.shows.delete(feature);
  }
}

function sizeOf({ steps }: Script): number {
  return steps.reduce((sum, step) => sum + (step.kind === "send" ? step.data.length : 0), 0);
}
