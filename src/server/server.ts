/** Serves a chain to many clients. src/cli handles the command line, signals and processes. */
import { closeSync } from "node:fs";

import type { Chain } from "../chain/chain.ts";
import { log } from "../lib/log.ts";
import { Lock } from "../protocol/lock.ts";
import type { ProtocolPolicy } from "../protocol/policy.ts";
import { openFilesLimit } from "../sys/open-files.ts";
import type { ClientSocket } from "./client-socket.ts";
import { Connection, type Shared } from "./connection.ts";
import { IdleCollection } from "./idle-collection.ts";
import { type Hooks, type Listener, listenersOn } from "./listener.ts";
import {
  type Address,
  type Listening,
  type ListenTarget,
  openTarget,
  type SocketOptions,
} from "./sockets.ts";
import { acceptStreams } from "./streams.ts";
import type { ServerTls } from "./tls.ts";

export interface ServerOptions {
  /** The addresses to listen on, all at once. */
  readonly listen: readonly ListenTarget[];
  /** Options of all sockets. */
  readonly sockets: SocketOptions;
  readonly policy: ProtocolPolicy;
  /** The result of `prepareTls` for --tls. */
  readonly tls: ServerTls;
  /**
   * Called when the sockets are bound, to run after_fork. Clients can connect then, but the server greets none until
   * this resolves.
   */
  readonly onBound?: (addresses: readonly Address[]) => Promise<void>;
}

export interface Server {
  /** The addresses in the order of `listen`, with the real port where 0 was requested. */
  readonly addresses: readonly Address[];
  /** The number of connected clients. */
  readonly connections: number;
  /** Bytes of memory held for clients: input that has not run, and output that was not taken. */
  readonly heldBytes: number;
  /**
   * Serve one client on two descriptors, or twice the same one. Calls `left` when the client sends no more. Resolves
   * when the connection is closed.
   */
  serveStreams(input: number, output: number, left: () => void): Promise<void>;
  /**
   * Accept no more clients, answer requests in flight, and close all connections and their layers, without waiting for
   * idle clients. Resolves when everything is closed.
   */
  stop(): Promise<void>;
  /** Flush layers that still answer, if they accept several requests at a time. May never resolve. */
  flush(): Promise<void>;
}

export async function startServer(chain: Chain, options: ServerOptions): Promise<Server> {
  const server = new RunningServer(chain, options);
  await server.start(options);
  return server;
}

class RunningServer implements Server {
  readonly #shared: Shared;
  readonly #running = new Map<Connection, Promise<void>>();
  #listeners: readonly Listener[] = [];
  #addresses: readonly Address[] = [];
  readonly #ready = Promise.withResolvers<void>();
  #nextId = 1;
  #stopping = false;
  /** New clients wait in the kernel's queue. */
  #full = false;
  #saidFull = false;

  constructor(chain: Chain, { policy, tls }: ServerOptions) {
    this.#shared = {
      chain,
      policy,
      tls,
      collection: new IdleCollection(),
      connectionLock: new Lock(),
      requestLock: new Lock(),
      ready: this.#ready.promise,
    };
  }

  async start({ listen, sockets, onBound }: ServerOptions): Promise<void> {
    const open = openAll(listen, sockets);
    this.#addresses = open.map(({ address }) => address);
    const hooks: Hooks = {
      accept: (socket) => this.#accept(socket),
      runsLow: () => this.#pauseListeners(),
      left: () => this.#resumeListeners(),
    };
    this.#listeners = open.flatMap((one) => listenersOn(one, sockets.keepalive, hooks));
    try {
      // As with nbdkit, clients wait in the kernel until then. A module's after_fork may close all descriptors it
      // finds, and accepted sockets are not yet protected as the server's.
      await onBound?.(this.#addresses);
    } catch (error) {
      await this.stop();
      throw error;
    } finally {
      this.#ready.resolve();
    }
    if (!this.#stopping) this.#resume();
  }

  #resume(): void {
    for (const listener of this.#listeners) listener.resume();
  }

  get addresses(): readonly Address[] {
    return this.#addresses;
  }

  get connections(): number {
    return this.#running.size;
  }

  get heldBytes(): number {
    return [...this.#running.keys()].reduce((sum, { heldBytes }) => sum + heldBytes, 0);
  }

  async serveStreams(input: number, output: number, left: () => void): Promise<void> {
    const served = Promise.withResolvers<void>();
    await acceptStreams(input, output, (socket) => {
      try {
        const connection = this.#accept(socket, true);
        connection.ended.addEventListener("abort", left, { once: true });
        void this.#running.get(connection)?.then(served.resolve);
        return connection;
      } catch (error) {
        served.reject(error);
        throw error;
      }
    });
    await served.promise;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const listener of this.#listeners) listener.stop();
    for (const connection of this.#running.keys()) connection.stop();
    // A client that the kernel had already accepted may still turn up.
    while (this.#running.size > 0) await Promise.all(this.#running.values());
  }

  async flush(): Promise<void> {
    if (this.#shared.chain.threadModel !== "parallel") return;
    await Promise.all([...this.#running.keys()].map((connection) => connection.flushLayers()));
  }

  /**
   * Stop accepting when descriptors run low. accept(2) would keep failing with EMFILE, and Bun would retry in a loop.
   */
  #pauseListeners(): void {
    if (this.#full || this.#stopping) return;
    this.#full = true;
    for (const listener of this.#listeners) listener.pause();
    const message =
      `${this.connections} clients are connected, and few of the ${openFilesLimit()} descriptors that the ` +
      "system allows are left: others wait until a client leaves";
    // Once is enough: at the limit, each client that leaves makes room for one.
    if (this.#saidFull) log.debug(message);
    else log.error(message);
    this.#saidFull = true;
  }

  #resumeListeners(): void {
    if (!this.#full || this.#stopping) return;
    this.#full = false;
    this.#resume();
  }

  #accept(socket: ClientSocket, alone = false): Connection {
    const connection = new Connection(socket, this.#shared, this.#nextId++, alone);
    if (this.#stopping) connection.stop();
    const run = connection.run().finally(() => this.#running.delete(connection));
    this.#running.set(connection, run);
    return connection;
  }
}

/** Open all listeners or none. */
function openAll(targets: readonly ListenTarget[], options: SocketOptions): readonly Listening[] {
  const open: Listening[] = [];
  try {
    for (const target of targets) open.push(openTarget(target, options));
  } catch (error) {
    for (const { fds } of open) fds.forEach((fd) => closeSync(fd));
    throw error;
  }
  return open;
}
