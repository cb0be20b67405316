/** Both servers with the same chain over the same disk, and one client that talks to both. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { NbdClient } from "#test/client";
import { serve, type Served } from "#test/server";

import { joined, type Script, sentBy } from "../script.ts";
import { compare, type Compared, type Heard } from "./compare.ts";
import { deaths } from "./differences.ts";
import { restoring } from "./sessions.ts";
import { talk, waits } from "./talk.ts";
import type { PairWorld } from "./worlds.ts";

/** The time limit for silence of a client that waits for the end of the connection. */
const quietMs = 60;
/** Where the servers differ, it listens longer before that is believed. */
const patientMs = 2000;
const hangMs = 20_000;

export class Pair implements AsyncDisposable {
  readonly world: PairWorld;
  readonly #folder: string;
  #servers: readonly Served[];

  private constructor(world: PairWorld, folder: string, servers: readonly Served[]) {
    this.world = world;
    this.#folder = folder;
    this.#servers = servers;
  }

  static async open(world: PairWorld): Promise<Pair> {
    const folder = mkdtempSync(join(tmpdir(), "nbdkit-pair-"));
    return new Pair(world, folder, await start(world, folder));
  }

  /** New servers with new disks. */
  async renew(): Promise<void> {
    await this.#stop();
    this.#servers = await start(this.world, this.#folder);
  }

  /** Play it to both, on disks that are as they were. */
  async play(it: Script): Promise<Compared> {
    if (!this.world.readonly) {
      const { mistake } = await this.#both(restoring(this.world), quietMs);
      if (mistake !== undefined)
        return { mistake: `while the disk is restored: ${mistake}`, met: [], asked: 0 };
    }
    const first = await this.#both(it, quietMs);
    if (first.mistake?.startsWith("connection") !== true) return first;
    return this.#both(it, patientMs);
  }

  async #both(it: Script, listenMs: number): Promise<Compared> {
    const [ours, genuine] = await Promise.all(
      this.#servers.map((server) => hear(server, this.world, it, listenMs)),
    );
    if (ours === undefined || genuine === undefined) throw new Error("there are two servers");
    const compared = compare(this.world, ours, genuine);
    if (this.#ended(0)) return { ...compared, mistake: `our server ended: ${this.#lastWords(0)}` };
    if (!this.#ended(1)) return compared;
    const words = this.#lastWords(1);
    const known = deaths.find((one) => one.words.test(words));
    if (known === undefined) return { ...compared, mistake: `nbdkit ended: ${words}` };
    await this.renew();
    return { met: [...compared.met, known], asked: compared.asked };
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

async function start(world: PairWorld, folder: string): Promise<readonly Served[]> {
  const [ours, genuine] = ["ours", "genuine"].map((name) => join(folder, name));
  if (ours === undefined || genuine === undefined) throw new Error("there are two servers");
  mkdirSync(ours, { recursive: true });
  mkdirSync(genuine, { recursive: true });
  return Promise.all([
    serve(world.ours(ours)),
    serve(world.genuine(genuine), { program: ["nbdkit"] }),
  ]);
}

async function hear(
  { socket }: Served,
  { oldstyle, ordered }: PairWorld,
  { steps }: Script,
  listenMs: number,
): Promise<Heard> {
  await using ear = await Ear.open(socket);
  const sent: Uint8Array[] = [];
  const told = () => talk(joined(sent), ear.said, oldstyle);
  for (const step of steps) {
    if (step.kind === "send") {
      sent.push(step.data);
      ear.client.send(step.data);
    }
    // Where replies may overtake each other, what belongs together is answered before more is asked.
    if (!ordered) await ear.until(() => !waits(told()));
    if (step.kind === "turn") await ear.sent();
  }
  await ear.sent();
  const ends = steps.at(-1)?.kind === "end";
  if (!ends) await ear.quiet(listenMs);
  const closed = ear.over;
  ear.client.shutdown();
  await ear.until(() => false);
  return { talk: talk(sentBy(steps), ear.said, oldstyle), closed: !ends && closed };
}

/** Collects what a server says. */
class Ear implements AsyncDisposable {
  over = false;
  readonly client: NbdClient;
  readonly #pieces: Uint8Array[] = [];
  #events = 0;

  private constructor(client: NbdClient) {
    this.client = client;
  }

  static async open(unix: string): Promise<Ear> {
    return new Ear(await NbdClient.connect({ unix }));
  }

  get said(): Uint8Array {
    return joined(this.#pieces);
  }

  /** Wait until the kernel has taken all, or the peer takes no more. */
  async sent(): Promise<void> {
    await Promise.race([this.client.sent(), this.client.closed]);
  }

  /** Listen until the condition holds, or the server closes. */
  async until(done: () => boolean): Promise<void> {
    while (!this.over && !done()) {
      if (!(await this.#more(hangMs))) throw new Error("the server neither answers nor closes");
    }
  }

  /** Listen until there was nothing new for so long. */
  async quiet(ms: number): Promise<void> {
    while (!this.over && (await this.#more(ms)));
  }

  /** Whether there is more now, or the connection is over. */
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
      // It throws at the end of the stream, and says nothing else.
      this.over = true;
    }
    this.#events++;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.#pending;
  }
}
