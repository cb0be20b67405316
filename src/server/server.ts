/** Serves a chain to many clients. Command line, signals and processes are src/cli's. */
import type { Chain } from "../chain/chain.ts";
import { Lock } from "../protocol/lock.ts";
import { type ClientSocket, Connection, type Shared } from "./connection.ts";
import { listen, type Listener, type ListenTarget } from "./listener.ts";

export interface ServerOptions {
  readonly listen: ListenTarget;
  /** Clients may not write, whatever the layers say. */
  readonly readonly: boolean;
  /** -t: native threads per connection. The chain bounds them; the server only speaks of it. */
  readonly threads: number;
  /** Whether clients may have structured replies, and with them block status (default true). */
  readonly structuredReplies?: boolean;
  /** --no-mc: clients may not have block status. */
  readonly noMc?: boolean;
  /** --mask-handshake: the flags of the handshake that clients may see. */
  readonly maskHandshake?: number;
  /** -o: greet clients without negotiation. */
  readonly oldstyle?: boolean;
  /** --timeout: what a client may spend on the handshake, by default as long as it likes. */
  readonly timeoutSeconds?: number;
  /**
   * Called when the sockets are bound. Clients can connect then, but none is greeted before this has
   * resolved: the place for after_fork.
   */
  readonly onBound?: () => Promise<void>;
}

export interface Server {
  /** Where it listens; the port that the kernel chose where 0 was asked for. */
  readonly address: { readonly unix: string } | { readonly port: number };
  /** Clients that are connected. */
  readonly connections: number;
  /** Bytes of memory held for clients: what they sent and was not run, and replies not yet taken. */
  readonly heldBytes: number;
  /**
   * Take no new clients, answer what is in flight, and close all connections and their layers. Idle
   * clients are not waited for. Resolves when all is closed.
   */
  stop(): Promise<void>;
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
  #address: Server["address"] = { port: 0 };
  readonly #ready = Promise.withResolvers<void>();
  #nextId = 1;
  #stopping = false;

  constructor(chain: Chain, options: ServerOptions) {
    this.#shared = {
      chain,
      readonly: options.readonly,
      threads: options.threads,
      structuredReplies: options.structuredReplies ?? true,
      metaContexts: options.noMc !== true,
      maskHandshake: options.maskHandshake ?? 0xffff,
      oldstyle: options.oldstyle ?? false,
      timeoutSeconds: options.timeoutSeconds,
      connectionLock: new Lock(),
      requestLock: new Lock(),
      ready: this.#ready.promise,
    };
  }

  async start({ listen: target, onBound }: ServerOptions): Promise<void> {
    this.#listeners = await listen(target, (socket) => this.#accept(socket));
    const port = this.#listeners[0]?.port;
    this.#address = "unix" in target ? target : { port: port ?? target.port };
    try {
      await onBound?.();
    } catch (error) {
      await this.stop();
      throw error;
    } finally {
      this.#ready.resolve();
    }
  }

  get address(): Server["address"] {
    return this.#address;
  }

  get connections(): number {
    return this.#running.size;
  }

  get heldBytes(): number {
    return [...this.#running.keys()].reduce((sum, { heldBytes }) => sum + heldBytes, 0);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    for (const listener of this.#listeners) listener.stop();
    for (const connection of this.#running.keys()) connection.stop();
    // A client that the kernel had accepted already may still turn up.
    while (this.#running.size > 0) await Promise.all(this.#running.values());
  }

  #accept(socket: ClientSocket): Connection {
    const connection = new Connection(socket, this.#shared, this.#nextId++);
    if (this.#stopping) connection.stop();
    const run = connection.run().finally(() => this.#running.delete(connection));
    this.#running.set(connection, run);
    return connection;
  }
}
