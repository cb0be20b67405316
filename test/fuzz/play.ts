/** Plays a script to a connection of the server, without a socket. */
import { log } from "../../src/lib/log.ts";
import type { ClientSocket } from "../../src/server/client-socket.ts";
import { Connection } from "../../src/server/connection.ts";
import type { FuzzServer } from "./configurations.ts";
import { joined, type Step } from "./script.ts";

export interface Transcript {
  /** All bytes that the server sent. */
  readonly output: Uint8Array;
  /** The server's log lines. */
  readonly lines: readonly string[];
  /** The connection broke, or the server stopped: its output may end anywhere. */
  readonly cut: boolean;
}

/** This many turns of the event loop without an event are a hang. */
const mostIdleTurns = 2000;

/** Play the steps, then end the client's input. Throws if the server hangs, or leaves something open. */
export async function play(server: FuzzServer, steps: readonly Step[]): Promise<Transcript> {
  server.reset();
  const lines: string[] = [];
  using _ = collectLog(lines);
  const client = new Client(server);
  for (const step of steps) await client.step(step);
  await client.finish();
  const { connectionLock, requestLock } = server.shared;
  if (server.open !== 0) throw new Error(`${server.open} connections of the plugin are still open`);
  if (!requestLock.free) throw new Error("the lock of requests is still held");
  if (!connectionLock.free) throw new Error("the lock of connections is still held");
  return { output: client.output, lines, cut: client.cut };
}

function collectLog(lines: string[]): Disposable {
  const { error, debug } = log;
  log.error = (message) => void lines.push(message);
  log.debug = (message) => void lines.push(message);
  return {
    [Symbol.dispose]() {
      log.error = error;
      log.debug = debug;
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

class Client {
  cut = false;
  readonly #connection: Connection;
  readonly #written: Uint8Array[] = [];
  /** The bytes that the kernel still accepts. */
  #room = Infinity;
  #blocked = false;
  #paused = false;
  /** The socket is closed. */
  #gone = false;
  #over = false;
  #failure: unknown;
  /** Sent but not delivered, since the server has paused the socket. */
  readonly #queue: Uint8Array[] = [];
  #ends = false;
  #endDelivered = false;
  #events = 0;
  #sent = 0;
  readonly #most: number;

  constructor({ mostHeldBytes, shared }: FuzzServer) {
    this.#most = mostHeldBytes;
    this.#connection = new Connection(this.#socket(), shared, 1);
    this.#connection.run().then(
      () => (this.#over = true),
      (error: unknown) => {
        this.#failure = error ?? new Error("run was rejected");
        this.#over = true;
      },
    );
  }

  get output(): Uint8Array {
    return joined(this.#written);
  }

  async step(step: Step): Promise<void> {
    switch (step.kind) {
      case "send":
        if (!this.#ends) this.#queue.push(step.data);
        this.#sent += step.data.length;
        this.#deliver();
        break;
      case "take":
        this.#room = step.bytes;
        break;
      case "drain":
        this.#drain();
        break;
      case "turn":
        await turn();
        break;
      case "end":
        this.#ends = true;
        this.#deliver();
        break;
      case "reset":
        this.cut = true;
        this.#break();
        break;
      case "stop":
        this.cut = true;
        this.#connection.stop();
        break;
      default:
        step satisfies never;
    }
    const { heldBytes } = this.#connection;
    if (heldBytes > this.#sent + this.#most)
      throw new Error(`the connection holds ${heldBytes} bytes`);
  }

  /** Accept all output, deliver the rest, and wait for the end of the connection. */
  async finish(): Promise<void> {
    for (let idle = 0; !this.#over; idle++) {
      if (idle > mostIdleTurns) throw new Error("the connection does not end");
      const before = this.#events;
      this.#drain();
      this.#deliver();
      await turn();
      if (this.#queue.length === 0) this.#ends = true;
      if (this.#events !== before) idle = 0;
    }
    if (this.#failure !== undefined) throw this.#failure;
    // The kernel would report this as well.
    this.#break();
  }

  #socket(): ClientSocket {
    return {
      client: { peerName: undefined, peer: undefined },
      write: (bytes, start, length) => {
        this.#events++;
        if (this.#gone) return -1;
        const taken = Math.min(length, this.#room);
        this.#room -= taken;
        if (taken < length) this.#blocked = true;
        if (taken > 0) this.#written.push(bytes.slice(start, start + taken));
        return taken;
      },
      receive: (into) => this.#receive(into),
      pause: () => (this.#paused = true),
      resume: () => {
        this.#paused = false;
        // The kernel reports waiting data later, never from within.
        queueMicrotask(() => this.#deliver());
      },
      end: () => {},
      terminate: () => this.#break(),
    };
  }

  /** Data that the server reads itself, before it is delivered. */
  #receive(into: Uint8Array): number {
    const [next] = this.#queue;
    if (next === undefined || this.#gone) return 0;
    const part = next.subarray(0, into.length);
    into.set(part);
    if (part.length === next.length) this.#queue.shift();
    else this.#queue[0] = next.subarray(part.length);
    return part.length;
  }

  #drain(): void {
    this.#room = Infinity;
    if (!this.#blocked || this.#gone) return;
    this.#blocked = false;
    this.#events++;
    this.#connection.drained();
  }

  #deliver(): void {
    while (!this.#paused && !this.#gone) {
      const data = this.#queue.shift();
      if (data === undefined) break;
      this.#events++;
      // A copy, since the connection owns what it gets.
      this.#connection.data(data.slice());
    }
    if (!this.#ends || this.#endDelivered || this.#paused || this.#gone) return;
    if (this.#queue.length > 0) return;
    this.#endDelivered = true;
    this.#events++;
    this.#connection.inputEnded();
  }

  #break(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#queue.length = 0;
    this.#connection.gone();
  }
}
