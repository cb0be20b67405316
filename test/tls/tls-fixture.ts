/** Servers with TLS in the test process, and clients for them. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConnectionOptions } from "node:tls";

import { NbdClient, type Reply, type RequestFields } from "#test/client";
import { needing as needingPrograms, run, serve } from "#test/server";
import { defaults } from "#test/settings";

import { prepareTls, type ServerTls, type TlsOptions } from "../../src/server/tls.ts";
import { type FixtureOptions, type Running, running } from "../protocol/server-fixture.ts";
import { type Bridge, plainBridge, tlsBridge } from "./bridge.ts";
import { pki } from "./certificates.ts";

/** Whether to skip tests that need these programs, besides certtool, which makes the certificates. */
export function needing(...programs: readonly string[]) {
  return needingPrograms("certtool", ...programs);
}

export const { missing, needs, skip } = needing();

export interface Secured extends Running {
  readonly socket: string;
  /** A client after the TLS handshake, which has sent the options `before` in plain text. */
  secure(options?: ConnectionOptions, before?: readonly Uint8Array[]): Promise<NbdClient>;
  /** The proxy through which such a client connects. */
  bridge(options?: ConnectionOptions, before?: readonly Uint8Array[]): Promise<Bridge>;
}

export interface SecuredOptions extends Omit<FixtureOptions, "tls"> {
  readonly tls?: Partial<TlsOptions>;
  readonly handshakeMs?: number;
}

/** Options of a client that trusts the server. */
export async function trusting(): Promise<ConnectionOptions> {
  const { server } = await pki();
  return { ca: readFileSync(join(server, "ca-cert.pem")), servername: "localhost" };
}

/** A server in the test process, which requires TLS unless the options say otherwise. */
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
    tls: withTimeLimit(tls, options.handshakeMs),
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

/** The output of OpenSSL's client in a handshake with a server, and the server's log. */
export async function opensslHandshake(server: readonly string[], client: readonly string[]) {
  await using serving = await serve(["-v", "--tls=require", ...server, "memory", "1M"]);
  await using bridge = await tlsBridge(serving.socket);
  const where = ["-connect", `127.0.0.1:${bridge.port}`, "-servername", "localhost"];
  const { stdout, stderr } = await run(["openssl", "s_client", ...where, ...client], { stdin: "" });
  const { stderr: log } = await serving.stop();
  return { output: stdout + stderr, log };
}

/** Sends one request and returns the reply. */
export async function ask(client: NbdClient, fields: RequestFields): Promise<Reply> {
  client.request(fields);
  return client.reply();
}

export async function read(client: NbdClient, offset: bigint, count: number): Promise<Uint8Array> {
  const { error } = await ask(client, { type: 0, offset, count });
  if (error !== 0) throw new Error(`READ failed with ${error}`);
  return client.take(count);
}

function withTimeLimit(tls: ServerTls, handshakeMs: number | undefined): ServerTls {
  if (!("offer" in tls) || handshakeMs === undefined) return tls;
  return { ...tls, offer: { ...tls.offer, handshakeMs } };
}
