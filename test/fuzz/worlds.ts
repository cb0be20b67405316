/** Servers that scripts are played to: the same disk under different options, thread models and tempers. */
import type { ThreadModel } from "#api";
import { typescriptLayer } from "#modules/typescript";
import { configuredChain } from "#test/chain";
import { defaults } from "#test/settings";

import type { Chain } from "../../src/chain/chain.ts";
import { Lock } from "../../src/protocol/lock.ts";
import type { ProtocolPolicy } from "../../src/protocol/policy.ts";
import type { Shared } from "../../src/server/connection.ts";
import { IdleCollection } from "../../src/server/idle-collection.ts";
import type { Facts } from "./judge.ts";
import { type Answers, Moody, moody } from "./moody.ts";
import { nullTls } from "./null-tls.ts";

interface Temper {
  /** When the disk answers: by default at once. */
  readonly answers?: Answers;
  readonly model?: ThreadModel;
  readonly policy?: Partial<ProtocolPolicy>;
  readonly tls?: Shared["tls"];
}

const tempers = {
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
} as const satisfies Readonly<Record<string, Temper>>;

export const worldNames: readonly string[] = Object.keys(tempers);

export interface World extends AsyncDisposable {
  readonly shared: Shared;
  readonly facts: Facts;
  /** The most that a connection may hold for its client, beside what that has sent. */
  readonly mostHeldBytes: number;
  /** How often the plugin was opened and not closed again. */
  readonly open: number;
  /** Make the disk what it was. */
  reset(): void;
}

export async function openWorld(name: string): Promise<World> {
  const temper: Temper | undefined = Object.entries(tempers).find(([key]) => key === name)?.[1];
  if (temper === undefined) throw new Error(`no such world: ${name}`);
  const { answers, model } = temper;
  const state = new Moody(answers);
  const chain = await configuredChain([typescriptLayer("plugin", moody(state, model), "test")], {});
  const shared = sharedOf(chain, temper);
  return {
    shared,
    facts: { ...shared.policy, tls: shared.tls.mode, disk: state.disk },
    // Requests in flight, and what stands around them. What is answered at once is never in flight.
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

function sharedOf(chain: Chain, temper: Temper): Shared {
  return {
    chain,
    policy: { ...defaults.policy, threads: 16, ...temper.policy },
    tls: temper.tls ?? { mode: "off" },
    collection: new IdleCollection(),
    ready: Promise.resolve(),
    connectionLock: new Lock(),
    requestLock: new Lock(),
  };
}
