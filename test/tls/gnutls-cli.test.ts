/** `gnutls-cli --starttls` sends its stdin in plain text until a signal makes it begin TLS on the same connection. */
import { describe, expect, test } from "bun:test";
import net from "node:net";
import { join } from "node:path";

import { bytes, infoPayload, metaPayload, option } from "#test/client";
import { installed, serve, until } from "#test/server";

import { pki } from "./certificates.ts";
import { needing } from "./tls-fixture.ts";

const { skip, needs } = needing("gnutls-cli");

const [ABORT, LIST, STARTTLS, GO, STRUCTURED, SET_META] = [2, 3, 5, 7, 8, 10] as const;
const TLS_REQD = 0x80000005;
const INVALID = 0x80000003;
const POLICY = 0x80000002;

/** A port that forwards to a Unix socket, since gnutls-cli cannot connect to one. */
async function portOf(unix: string): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<net.Socket>();
  const listener = net.createServer((client) => {
    const server = net.connect(unix);
    for (const one of [client, server]) {
      sockets.add(one);
      one.on("error", () => {});
    }
    client.pipe(server).pipe(client);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    async [Symbol.asyncDispose]() {
      for (const one of sockets) one.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

class GnutlsCli implements Disposable {
  #output = Buffer.alloc(0);
  #ended = false;
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;

  constructor(port: number, ca: string, more: readonly string[] = []) {
    const trust = ["--x509cafile", ca, "--verify-hostname", "localhost", ...more];
    this.#child = Bun.spawn(
      ["gnutls-cli", "--starttls", ...trust, "--port", String(port), "127.0.0.1"],
      { stdin: "pipe", stdout: "pipe", stderr: "pipe" },
    );
    for (const stream of [this.#child.stdout, this.#child.stderr]) void this.#collect(stream);
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const chunk of stream) this.#output = Buffer.concat([this.#output, chunk]);
    this.#ended = true;
  }

  async say(...what: readonly Uint8Array[]): Promise<void> {
    for (const one of what) this.#child.stdin.write(one);
    await this.#child.stdin.flush();
  }

  /** Waits for these bytes, and drops them and all output before. Rejects if the output ends without them. */
  async until(what: Uint8Array | string): Promise<void> {
    await until(() => this.#output.includes(what) || this.#ended);
    const at = this.#output.indexOf(what);
    if (at < 0) throw new Error(`not printed: ${this.#output.toString("latin1")}`);
    this.#output = this.#output.subarray(at + what.length);
  }

  /** Waits for a reply of this type to the option. */
  async answered(which: number, type: number): Promise<void> {
    await this.until(bytes(0x3e889045565a9n, which, type));
  }

  async beginTls(): Promise<void> {
    this.#child.kill("SIGALRM");
    // The last line about the session.
    await this.until("- Options:");
  }

  /** The exit status, once the server has ended the connection. */
  async ended(): Promise<number> {
    return this.#child.exited;
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
  }
}

describe.skipIf(skip)(`gnutls-cli --starttls${needs}`, () => {
  for (const name of ["ours", "nbdkit"] as const) {
    const lacks = name === "nbdkit" && !installed("nbdkit");
    const suffix = lacks ? " (needs nbdkit)" : "";
    const program = name === "nbdkit" ? { program: ["nbdkit"] } : {};

    test.skipIf(lacks)(
      `negotiates with ${name}, first in plain text and then in TLS${suffix}`,
      async () => {
        const { server: certificates } = await pki();
        await using server = await serve(
          ["--tls=require", `--tls-certificates=${certificates}`, "memory", "1M"],
          program,
        );
        await using way = await portOf(server.socket);
        using client = new GnutlsCli(way.port, join(certificates, "ca-cert.pem"));
        await client.until("IHAVEOPT");
        await client.say(bytes(3), option(LIST));
        await client.answered(LIST, TLS_REQD);
        await client.say(option(STARTTLS, bytes(7)));
        await client.answered(STARTTLS, INVALID);
        await client.say(option(STARTTLS));
        await client.answered(STARTTLS, 1);
        await client.beginTls();
        // The server has forgotten the options from before TLS.
        await client.say(option(SET_META, metaPayload("", ["base:allocation"])));
        await client.answered(SET_META, INVALID);
        await client.say(option(STARTTLS));
        await client.answered(STARTTLS, INVALID);
        await client.say(option(STRUCTURED));
        await client.answered(STRUCTURED, 1);
        await client.say(option(LIST));
        await client.answered(LIST, 1);
        await client.say(option(GO, infoPayload("")));
        await client.answered(GO, 1);
        // After NBD_CMD_DISC the server ends TLS in order.
        await client.say(bytes(0x25609513, [2, 0], [2, 2], 0n, 0n, 0));
        expect(await client.ended()).toBe(0);
      },
      30_000,
    );

    test.skipIf(lacks)(
      `is refused by ${name} with --tls=off${suffix}`,
      async () => {
        const { server: certificates } = await pki();
        await using server = await serve(["--tls=off", "memory", "1M"], program);
        await using way = await portOf(server.socket);
        using client = new GnutlsCli(way.port, join(certificates, "ca-cert.pem"));
        await client.until("IHAVEOPT");
        await client.say(bytes(3), option(STARTTLS));
        await client.answered(STARTTLS, POLICY);
        await client.say(option(ABORT));
        await client.answered(ABORT, 1);
      },
      30_000,
    );
  }
});
