/** Plays new sessions to a pair of servers until they differ. */
import { Random } from "../random.ts";
import type { Script } from "../script.ts";
import type { Pair } from "./pair.ts";
import { session } from "./sessions.ts";

interface Found {
  readonly script: Script;
  readonly mistake: string;
}

export class Search {
  sessions = 0;
  /** Options and requests. */
  messages = 0;
  /** The number of times that each intended difference occurred. */
  readonly met = new Map<string, number>();

  async run(pair: Pair, seed: number, goOn: () => boolean): Promise<Found | undefined> {
    const random = new Random(seed);
    let script: Script = { configuration: pair.configuration.name, steps: [] };
    while (goOn()) {
      script = session(random, pair.configuration, script);
      const { messages, met, mistake } = await pair.play(script);
      this.sessions++;
      this.messages += messages;
      for (const { name } of met) this.met.set(name, (this.met.get(name) ?? 0) + 1);
      if (mistake !== undefined) return { script, mistake };
    }
    return undefined;
  }
}
