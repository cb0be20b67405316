/** Servers in the test process over a disk in memory. A test can hold back the disk's answers. */
import { definePlugin, NbdError, type ThreadModel } from "#api";
import { typescriptLayer } from "#modules/typescript";
import { configuredChain, diskPlugin } from "#test/chain";
import { type Export, NbdClient, type Target } from "#test/client";
import { defaults } from "#test/settings";

import type { ConnectionInfo, Layer } from "../../src/chain/layer.ts";
import { log } from "../../src/lib/log.ts";
import type { ProtocolPolicy } from "../../src/protocol/policy.ts";
import { type Server, startServer } from "../../src/server/server.ts";
import type { ListenTarget } from "../../src/server/sockets.ts";
import type { ServerTls } from "../../src/server/tls.ts";

export interface Running extends AsyncDisposable {
  readonly server: Server;
  readonly target: Target;
  /** The calls that reached the plugin. */
  readonly calls: string[];
  readonly disk: Uint8Array;
  /** Ask the layers for the thread model again, as happens after an open. */
  /** A client that negotiated, closed at the end of the test. */
  ready(name?: string): Promise<{ client: NbdClient; export: Export }>;
  /** The same, with structured replies and block status. */
  structured(name?: string): Promise<{ client: NbdClient; export: Export }>;
  /** A client that has sent nothing. */
  connect(): Promise<NbdClient>;
}

export interface FixtureOptions {
  readonly size?: number;
  readonly listen?: ListenTarget;
  /** Methods that replace the disk's. */
  readonly plugin?: object;
  readonly filters?: readonly object[];
  readonly threadModel?: ThreadModel;
  readonly onBound?: () => Promise<void>;
  /** Policies other than the defaults. */
  readonly policy?: Partial<ProtocolPolicy>;
  /** TLS; off by default. */
  readonly tls?: ServerTls;
  /** Called with the layers' facts about each client, when it connects and when it opens an export. */
  readonly meets?: (when: "preconnect" | "open", connection: ConnectionInfo) => void;
  /** Answer later instead of at once. */
  readonly later?: boolean;
}

/** Bytes that show their position. They are made by doubling, since 64 MiB one by one take seconds. */
export function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const period = 251 * 256;
  for (let i = 0; i < Math.min(period, length); i++) bytes[i] = (i * 7 + (i >> 8)) % 251;
  for (let filled = period; filled < length; filled *= 2) {
    bytes.copyWithin(filled, 0, Math.min(filled, length - filled));
  }
  return bytes;
}

export async function running(options: FixtureOptions = {}): Promise<Running> {
  const calls: string[] = [];
  const disk = pattern(options.size ?? 65536);
  const { threadModel, later } = options;
  const plugin = definePlugin({
    ...diskPlugin(disk, calls, { later: later ?? false }),
    ...(threadModel === undefined ? {} : { threadModel: () => threadModel }),
    ...options.plugin,
  });
  const layers = [
    ...(options.meets === undefined ? [] : [onlooker(options.meets)]),
    ...(options.filters ?? []).map((filter) => typescriptLayer("filter", filter, "test")),
    typescriptLayer("plugin", plugin, "test"),
  ];
  const chain = await configuredChain(layers, {});
  const server = await startServer(chain, {
    listen: [options.listen ?? { port: 0, address: "127.0.0.1" }],
    sockets: defaults.sockets,
    policy: { ...defaults.policy, ...options.policy },
    tls: options.tls ?? { mode: "off" },
    ...(options.onBound === undefined ? {} : { onBound: options.onBound }),
  });
  const [target] = server.addresses;
  if (target === undefined || "vsock" in target) throw new Error("not a place for the client");
  const clients: NbdClient[] = [];
  const connect = async () => {
    const client = await NbdClient.connect(target);
    clients.push(client);
    return client;
  };
  return {
    server,
    target,
    calls,
    disk,
    connect,
    ready: async (name = "") => {
      const client = await connect();
      await client.hello();
      const result = await client.go(name);
      if (!("size" in result)) throw new Error(`GO was refused with ${result.type.toString(16)}`);
      return { client, export: result };
    },
    structured: async (name) => {
      const result = await NbdClient.structured(target, name);
      clients.push(result.client);
      return result;
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.terminate();
      await server.stop();
      await chain.cleanup();
      await chain.unload();
    },
  };
}

/** A filter that passes everything on. */
function onlooker(meets: NonNullable<FixtureOptions["meets"]>): Layer {
  return {
    kind: "filter",
    name: "onlooker",
    path: "test",
    dumpFields: [],
    preconnect(next, readonly, { connection }) {
      meets("preconnect", connection);
      return next(readonly);
    },
    async open({ connection }, next, readonly, exportName) {
      meets("open", connection);
      await next(readonly, exportName);
    },
  };
}

/** Collects log lines instead of printing them, until it is disposed of. */
export function quiet(verbose = false): Disposable & { readonly lines: string[] } {
  const lines: string[] = [];
  const original = { ...log };
  const keep = (kind: string) => (message: string, name?: string) => {
    if (kind === "error" || log.verbose) {
      lines.push(`${name === undefined ? "" : `${name}: `}${kind}: ${message}`);
    }
  };
  Object.assign(log, { verbose, error: keep("error"), debug: keep("debug") });
  return {
    lines,
    [Symbol.dispose]() {
      Object.assign(log, original);
    },
  };
}

/** Requests that wait until the test releases them by name. */
export class Held {
  readonly #waiting = new Map<string, (error?: Error) => void>();
  readonly #watchers: (() => void)[] = [];

  /** For a plugin's method: wait until `release(name)`. */
  wait(name: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(name, (error) => (error === undefined ? resolve() : reject(error)));
      for (const wake of this.#watchers.splice(0)) wake();
    });
  }

  get names(): string[] {
    return [...this.#waiting.keys()];
  }

  /** Wait until `count` requests are held. */
  async reached(count: number): Promise<void> {
    while (this.#waiting.size < count) {
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
  }

  release(name: string, error?: Error): void {
    const go = this.#waiting.get(name);
    if (go === undefined) throw new Error(`${name} is not held: ${this.names.join(", ")}`);
    this.#waiting.delete(name);
    go(error);
  }

  releaseAll(): void {
    for (const name of this.names) this.release(name);
  }
}

/** Turns of the event loop, in which something that must not happen could happen. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }
}

/** Turns of the event loop until `condition` holds. Otherwise the test's time limit ends it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turns(1);
}

export { NbdError };

/** A plugin whose reads and trims wait. A held request is named after its offset. */
export function holding(held: Held, extra: object = {}): object {
  return {
    pread: async (_handle: unknown, buf: Uint8Array, offset: bigint) => {
      await held.wait(`${offset}`);
      buf.fill(Number(offset % 251n));
    },
    trim: (_handle: unknown, _count: number, offset: bigint) => held.wait(`${offset}`),
    ...extra,
  };
}
