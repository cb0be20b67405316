/** The configurations of the servers under test: one disk with different options, thread models and answer times. */
import type { ThreadModel } from "#api";
import { typescriptLayer } from "#modules/typescript";
import { configuredChain } from "#test/chain";
import { defaults } from "#test/settings";

import type { Chain } from "../../src/chain/chain.ts";
import { Lock } from "../../src/protocol/lock.ts";
import type { ProtocolPolicy } from "../../src/protocol/policy.ts";
import type { Shared } from "../../src/server/connection.ts";
import { IdleCollection } from "../../src/server/idle-collection.ts";
import type { Facts } from "./check.ts";
import { type Answers, FlakyDisk, flakyPlugin } from "./flaky-plugin.ts";
import { nullTls } from "./null-tls.ts";

interface Configuration {
  readonly answers?: Answers;
  readonly model?: ThreadModel;
  readonly policy?: Partial<ProtocolPolicy>;
  readonly tls?: Shared["tls"];
}

const configurations = {
  plain: {},
  readonly: { policy: { readonly: true } },
  later: { answers: "later" },
  either: { answers: "either" },
  "one-at-a-time": { answers: "either", model: "serialize_requests" },
  "one-for-all": { answers: "either", model: "serialize_all_requests" },
  "one-client": { answers: "later", model: "serialize_connections" },
  unstructured: { policy: { structuredReplies: false } },
  "no-contexts": { policy: { metaContexts: false } },
  masked: { policy: { maskHandshake: 0 } },
  oldstyle: { policy: { oldstyle: true } },
  tls: { answers: "either", tls: nullTls("on") },
  "only-tls": { tls: nullTls("require") },
} as const satisfies Readonly<Record<string, Configuration>>;

export const configurationNames: readonly string[] = Object.keys(configurations);

export interface FuzzServer extends AsyncDisposable {
  readonly shared: Shared;
  readonly facts: Facts;
  /** The most memory that a connection may hold, besides the bytes that its client has sent. */
  readonly mostHeldBytes: number;
  /** The number of open handles of the plugin. */
  readonly open: number;
  /** Restore the disk. */
  reset(): void;
}

export async function openServer(name: string): Promise<FuzzServer> {
  const configuration: Configuration | undefined = Object.entries(configurations).find(
    ([key]) => key === name,
  )?.[1];
  if (configuration === undefined) throw new Error(`no such configuration: ${name}`);
  const { answers, model } = configuration;
  const state = new FlakyDisk(answers);
  const chain = await configuredChain(
    [typescriptLayer("plugin", flakyPlugin(state, model), "test")],
    {},
  );
  const shared = sharedOf(chain, configuration);
  return {
    shared,
    facts: { ...shared.policy, tls: shared.tls.mode, disk: state.disk },
    // Requests in flight, and what surrounds them. Requests that are answered at once are never in flight.
    mostHeldBytes: (answers === undefined ? 2 << 20 : 64 << 20) + (2 << 20),
    get open() {
      return state.open;
    },
    reset: () => state.reset(),
    async [Symbol.asyncDispose]() {
      await chain.cleanup();
      await chain.unload();
    },
  };
}

function sharedOf(chain: Chain, configuration: Configuration): Shared {
  return {
    chain,
    policy: { ...defaults.policy, threads: 16, ...configuration.policy },
    tls: configuration.tls ?? { mode: "off" },
    collection: new IdleCollection(),
    ready: Promise.resolve(),
    connectionLock: new Lock(),
    requestLock: new Lock(),
  };
}
