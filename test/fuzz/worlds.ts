/** Servers that scripts are played to: the same disk under different options, thread models and tempers. */
import type { ThreadModel } from "#api";
import { configuredChain } from "#test/chain";

import type { Chain } from "../../src/chain/chain.ts";
import { typescriptLayer } from "../../src/chain/typescript.ts";
import { Lock } from "../../src/protocol/lock.ts";
import type { Shared } from "../../src/server/connection.ts";
import { IdleCollection } from "../../src/server/idle-collection.ts";
import type { Facts } from "./judge.ts";
import { type Answers, Moody, moody } from "./moody.ts";
import { nullTls } from "./null-tls.ts";

interface Temper {
  /** When the disk answers: by default at once. */
  readonly answers?: Answers;
  readonly model?: ThreadModel;
  readonly shared?: Partial<Shared>;
}

const tempers = {
  plain: {},
  readonly: { shared: { readonly: true } },
  later: { answers: "later" },
  either: { answers: "either" },
  "one-at-a-time": { answers: "either", model: "serialize_requests" },
  "one-for-all": { answers: "either", model: "serialize_all_requests" },
  "one-client": { answers: "later", model: "serialize_connections" },
  unstructured: { shared: { structuredReplies: false } },
  "no-contexts": { shared: { metaContexts: false } },
  masked: { shared: { maskHandshake: 0 } },
  oldstyle: { shared: { oldstyle: true } },
  tls: { answers: "either", shared: { tls: nullTls("on") } },
  "only-tls": { shared: { tls: nullTls("require") } },
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
    facts: { ...shared, tls: shared.tls.mode, disk: state.disk },
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
    readonly: false,
    threads: 16,
    structuredReplies: true,
    metaContexts: true,
    maskHandshake: 0xffff,
    oldstyle: false,
    timeoutSeconds: undefined,
    tls: { mode: "off" },
    collection: new IdleCollection(),
    ready: Promise.resolve(),
    connectionLock: new Lock(),
    requestLock: new Lock(),
    ...temper.shared,
  };
}
