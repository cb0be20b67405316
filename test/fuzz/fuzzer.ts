/**
 * Plays scripts to connections in this process: new ones out of the grammar, and changed ones out of a corpus to
 * which every script is added that shows something new.
 */
import { log } from "../../src/lib/log.ts";
import type { Features } from "./features.ts";
import { script } from "./grammar.ts";
import { judge, type Verdict } from "./judge.ts";
import { mutated } from "./mutate.ts";
import { play } from "./play.ts";
import { Random } from "./random.ts";
import type { Script } from "./script.ts";
import { openWorld, type World, worldNames } from "./worlds.ts";

export interface Failure {
  readonly script: Script;
  readonly error: Error;
}

/** Scripts are played with debug lines once in so many times, since those cost more than all the rest. */
const talks = 16;
/** What is larger is not kept: it would be copied too often. */
const mostKeptBytes = 256 << 10;

export class Fuzzer implements AsyncDisposable {
  scripts = 0;
  messages = 0;
  readonly corpus: Script[] = [];
  readonly #seen: Features = new Set();
  readonly #worlds: ReadonlyMap<string, World>;

  private constructor(worlds: ReadonlyMap<string, World>) {
    this.#worlds = worlds;
  }

  static async open(): Promise<Fuzzer> {
    const worlds = new Map<string, World>();
    for (const name of worldNames) worlds.set(name, await openWorld(name));
    return new Fuzzer(worlds);
  }

  get features(): number {
    return this.#seen.size;
  }

  /** Play scripts until `goOn` says no, or one fails. */
  async run(seed: number, goOn: () => boolean): Promise<Failure | undefined> {
    const random = new Random(seed);
    while (goOn()) {
      const next = this.#next(random);
      const error = await this.attempt(next, random.once(talks));
      if (error !== undefined) return { script: next, error };
    }
    return undefined;
  }

  /** Play one script, and keep it where it shows something new. Returns what the server did wrong. */
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

  /** What a script shows, whether that was seen before or not. */
  async featuresOf(it: Script): Promise<Features> {
    return (await this.#play(it, true)).features;
  }

  async #play(it: Script, verbose: boolean): Promise<Verdict> {
    const world = this.#worlds.get(it.world);
    if (world === undefined) throw new Error(`no such world: ${it.world}`);
    log.verbose = verbose;
    try {
      return judge(world.facts, it, await play(world, it.steps));
    } finally {
      log.verbose = false;
    }
  }

  #next(random: Random): Script {
    if (this.corpus.length < 8 || random.once(3)) return script(random);
    return mutated(random, random.pick(this.corpus), random.pick(this.corpus));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const world of this.#worlds.values()) await world[Symbol.asyncDispose]();
  }
}

/** The largest script of a corpus that is worth a file. */
const mostBytes = 1500;
/** A script that shows fewer things that no other one shows is left out. */
const fewest = 3;

/** A few scripts that show all that the short ones of the corpus show together. */
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
