/** Servers with TLS in the test process, and clients for them. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConnectionOptions } from "node:tls";

import { NbdClient, type Reply, type RequestFields } from "#test/client";
import { installed } from "#test/server";
import { defaults } from "#test/settings";

import { prepareTls, type ServerTls, type TlsOptions } from "../../src/server/tls.ts";
import { type FixtureOptions, type Running, running } from "../protocol/server-fixture.ts";
import { type Bridge, plainBridge } from "./bridge.ts";
import { pki } from "./certificates.ts";

/** What all tests here need. */
export const missing = ["certtool"].filter((name) => !installed(name));
export const needs = missing.length === 0 ? "" : ` (needs ${missing.join(", ")})`;

export interface Secured extends Running {
  readonly socket: string;
  /** A client that has TLS and has asked for nothing else since; `before` it said that in clear. */
  secure(options?: ConnectionOptions, before?: readonly Uint8Array[]): Promise<NbdClient>;
  /** The way of such clients to the server. */
  bridge(options?: ConnectionOptions, before?: readonly Uint8Array[]): Promise<Bridge>;
}

export interface SecuredOptions extends Omit<FixtureOptions, "tls"> {
  readonly tls?: Partial<TlsOptions>;
  readonly handshakeMs?: number;
}

/** What clients need to trust the server. */
export async function trusting(): Promise<ConnectionOptions> {
  const { server } = await pki();
  return { ca: readFileSync(join(server, "ca-cert.pem")), servername: "localhost" };
}

/** A server in the test process. TLS is required unless the options say something else. */
export async function secured(options: SecuredOptions = {}): Promise<Secured> {
  const { server: certificates } = await pki();
  const tls = prepareTls({ ...defaults.tls, mode: "require", certificates, ...options.tls });
  const resources = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "nbdkit-secured-"));
  resources.defer(() => rmSync(folder, { recursive: true, force: true }));
  const socket = join(folder, "socket");
  const server = await running({
    ...options,
    listen: { unix: socket },
    tls: withPatience(tls, options.handshakeMs),
  });
  resources.use(server);
  const bridge: Secured["bridge"] = async (more, before) => {
    const all = { ...(await trusting()), ...more };
    return resources.use(await plainBridge(socket, all, before));
  };
  return {
    ...server,
    socket,
    bridge,
    secure: async (more, before) => {
      const client = resources.use(await NbdClient.connect(await bridge(more, before)));
      await client.hello();
      return client;
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** One request, and the answer to it. */
export async function ask(client: NbdClient, fields: RequestFields): Promise<Reply> {
  client.request(fields);
  return client.reply();
}

export async function read(client: NbdClient, offset: bigint, count: number): Promise<Uint8Array> {
  const { error } = await ask(client, { type: 0, offset, count });
  if (error !== 0) throw new Error(`READ failed with ${error}`);
  return client.take(count);
}

function withPatience(tls: ServerTls, handshakeMs: number | undefined): ServerTls {
  if (!("offer" in tls) || handshakeMs === undefined) return tls;
  return { ...tls, offer: { ...tls.offer, handshakeMs } };
}
