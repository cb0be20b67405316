/** Detects that JavaScript is blocked, and by which layer, from the memory of src/chain/running.ts. */
import { blockedLooks, mostNamedLayers } from "./limits.ts";

/** The data that the thread gets when it starts. */
export interface Watched {
  readonly memory: SharedArrayBuffer;
  readonly methods: readonly string[];
  readonly methodsPerLayer: number;
  readonly titles: readonly string[];
  readonly serverName: string | undefined;
  /** The destination of error lines. */
  readonly target: "nowhere" | "systemLog" | { readonly fd: number };
}

export class Blocking {
  readonly #watched: Omit<Watched, "target" | "serverName">;
  readonly #now: Int32Array;
  readonly #underWay: Int32Array;
  #turns = -1;
  #looks = 0;

  constructor(watched: Omit<Watched, "target" | "serverName">) {
    this.#watched = watched;
    this.#now = new Int32Array(watched.memory, 0, 2);
    this.#underWay = new Int32Array(watched.memory, 2 * Int32Array.BYTES_PER_ELEMENT);
  }

  /** The line to log, once for each time that JavaScript is blocked. */
  look(): string | undefined {
    const turns = Atomics.load(this.#now, 1);
    this.#looks = turns === this.#turns ? this.#looks + 1 : 0;
    this.#turns = turns;
    if (this.#looks !== blockedLooks) return undefined;
    const code = Atomics.load(this.#now, 0);
    if (code !== 0) return `${this.#nameOf(code)} has blocked the server for 2 s`;
    const calls = [...this.#underWay.keys()].filter((it) => Atomics.load(this.#underWay, it) > 0);
    const names = calls.slice(0, mostNamedLayers).map((it) => this.#nameOf(it));
    const after = names.length === 0 ? "" : `, perhaps code after an await in ${names.join(", ")}`;
    return `the server has been blocked for 2 s by JavaScript outside calls of layers${after}`;
  }

  #nameOf(code: number): string {
    const { methods, methodsPerLayer, titles } = this.#watched;
    const title = titles[Math.floor(code / methodsPerLayer)] ?? "a layer";
    const method = methods[code % methodsPerLayer] ?? "";
    return method === "" ? title : `${title}: ${method}`;
  }
}
