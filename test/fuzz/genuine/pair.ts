/** Both servers, with the same chain over the same disk, and a client that plays one session to both. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { serve, type Served } from "#test/server";

import { joined, type Script, sentBy } from "../script.ts";
import { compare, type Compared, type Observed } from "./compare.ts";
import type { PairConfiguration } from "./configurations.ts";
import { isWaiting, parseConversation } from "./conversation.ts";
import { crashes } from "./differences.ts";
import { restoring } from "./sessions.ts";

/** The time limit for silence of a client that isWaiting for the end of the connection. */
const quietMs = 60;
/** The longer limit for the second try if only the end of the connection differs. */
const patientMs = 2000;
const hangMs = 20_000;

export class Pair implements AsyncDisposable {
  readonly configuration: PairConfiguration;
  readonly #folder: string;
  #servers: readonly Served[];

  private constructor(
    configuration: PairConfiguration,
    folder: string,
    servers: readonly Served[],
  ) {
    this.configuration = configuration;
    this.#folder = folder;
    this.#servers = servers;
  }

  static async open(configuration: PairConfiguration): Promise<Pair> {
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-pair-"));
    return new Pair(configuration, folder, await start(configuration, folder));
  }

  /** New servers with new disks. */
  async renew(): Promise<void> {
    await this.#stop();
    this.#servers = await start(this.configuration, this.#folder);
  }

  /** Play a session to both servers, on restored disks. */
  async play(it: Script): Promise<Compared> {
    if (!this.configuration.readonly) {
      const { mistake } = await this.#both(restoring(this.configuration), quietMs);
      if (mistake !== undefined)
        return { mistake: `while the disk is restored: ${mistake}`, met: [], messages: 0 };
    }
    const first = await this.#both(it, quietMs);
    if (first.mistake?.startsWith("connection") !== true) return first;
    return this.#both(it, patientMs);
  }

  async #both(it: Script, listenMs: number): Promise<Compared> {
    const [ours, genuine] = await Promise.all(
      this.#servers.map((server) => observe(server, this.configuration, it, listenMs)),
    );
    if (ours === undefined || genuine === undefined) throw new Error("there are two servers");
    const compared = compare(this.configuration, ours, genuine);
    if (this.#ended(0)) return { ...compared, mistake: `our server ended: ${this.#lastWords(0)}` };
    if (!this.#ended(1)) return compared;
    const words = this.#lastWords(1);
    const known = crashes.find((one) => one.words.test(words));
    if (known === undefined) return { ...compared, mistake: `nbdkit ended: ${words}` };
    await this.renew();
    return { met: [...compared.met, known], messages: compared.messages };
  }

  #ended(which: 0 | 1): boolean {
    const { exitCode, signalCode } = this.#servers[which]?.process ?? {};
    return (exitCode ?? signalCode ?? null) !== null;
  }

  #lastWords(which: 0 | 1): string {
    return this.#servers[which]?.stderr().slice(-1000) ?? "";
  }

  async #stop(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    rmSync(this.#folder, { recursive: true });
  }
}

async function start(configuration: PairConfiguration, folder: string): Promise<readonly Served[]> {
  const [ours, genuine] = ["ours", "genuine"].map((name) => join(folder, name));
  if (ours === undefined || genuine === undefined) throw new Error("there are two servers");
  mkdirSync(ours, { recursive: true });
  mkdirSync(genuine, { recursive: true });
  return Promise.all([
    serve(configuration.ours(ours)),
    serve(configuration.genuine(genuine), { program: ["nbdkit"] }),
  ]);
}

async function observe(
  { socket }: Served,
  { oldstyle, ordered }: PairConfiguration,
  { steps }: Script,
  listenMs: number,
): Promise<Observed> {
  await using listener = await Listener.open(socket);
  const sent: Uint8Array[] = [];
  const now = () => parseConversation(joined(sent), listener.output, oldstyle);
  for (const step of steps) {
    if (step.kind === "send") {
      sent.push(step.data);
      listener.client.send(step.data);
    }
    // If replies may overtake each other, wait for those of one step before the next.
    if (!ordered) await listener.until(() => !isWaiting(now()));
    if (step.kind === "turn") await listener.sent();
  }
  await listener.sent();
  const ends = steps.at(-1)?.kind === "end";
  if (!ends) await listener.quiet(listenMs);
  const closed = listener.over;
  listener.client.shutdown();
  await listener.until(() => false);
  return {
    conversation: parseConversation(sentBy(steps), listener.output, oldstyle),
    closed: !ends && closed,
  };
}

/** Collects a server's output. */
class Listener implements AsyncDisposable {
  over = false;
  readonly client: NbdClient;
  readonly #pieces: Uint8Array[] = [];
  #events = 0;

  private constructor(client: NbdClient) {
    this.client = client;
  }

  static async open(unix: string): Promise<Listener> {
    return new Listener(await NbdClient.connect({ unix }));
  }

  get output(): Uint8Array {
    return joined(this.#pieces);
  }

  /** Wait until the kernel has accepted everything, or the server has closed. */
  async sent(): Promise<void> {
    await Promise.race([this.client.sent(), this.client.closed]);
  }

  /** Listen until the condition holds, or the server closes. */
  async until(done: () => boolean): Promise<void> {
    while (!this.over && !done()) {
      if (!(await this.#more(hangMs))) throw new Error("the server neither answers nor closes");
    }
  }

  /** Listen until nothing has arrived for `ms`. */
  async quiet(ms: number): Promise<void> {
    while (!this.over && (await this.#more(ms)));
  }

  /** Wait at most `ms`. Returns whether more has arrived, or the connection is over. */
  async #more(ms: number): Promise<boolean> {
    const before = this.#events;
    const next = this.#next();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    await Promise.race([next, late]);
    clearTimeout(timer);
    return this.#events !== before;
  }

  #pending: Promise<void> | undefined;

  #next(): Promise<void> {
    this.#pending ??= this.#take().finally(() => (this.#pending = undefined));
    return this.#pending;
  }

  async #take(): Promise<void> {
    try {
      const first = await this.client.take(1);
      this.#pieces.push(first, await this.client.take(this.client.available));
    } catch {
      // take() throws only at the end of the stream.
      this.over = true;
    }
    this.#events++;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.#pending;
  }
}
