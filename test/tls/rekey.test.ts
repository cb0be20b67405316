/** Clients that update their keys or renegotiate in the middle of a session. */
import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";

import { bytes, infoPayload, option, request } from "#test/client";
import { serve, type Served, until } from "#test/server";

import { tlsBridge } from "./bridge.ts";
import { type Pki, pki } from "./certificates.ts";
import { missing, needing } from "./tls-fixture.ts";

const { skip, needs } = needing("openssl");

let files: Pki;
beforeAll(async () => {
  if (missing.length === 0) files = await pki();
});

/** `openssl s_client`, which treats a line that begins with a certain letter as a command. */
class OpenSsl {
  #output = "";
  #ended = false;
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;

  constructor(port: number, args: readonly string[]) {
    this.#child = Bun.spawn(
      [
        ...["openssl", "s_client", "-connect", `127.0.0.1:${port}`, "-servername", "localhost"],
        ...["-CAfile", join(files.server, "ca-cert.pem"), "-verify_return_error", ...args],
      ],
      { stdin: "pipe", stdout: "pipe", stderr: "pipe" },
    );
    // It prints there which commands it runs.
    void this.#collect(this.#child.stderr);
    void this.#collect(this.#child.stdout);
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const chunk of stream) {
      this.#output += Buffer.from(chunk).toString("latin1");
    }
    this.#ended = true;
  }

  async say(what: Uint8Array | string): Promise<void> {
    this.#child.stdin.write(what);
    await this.#child.stdin.flush();
  }

  /** Waits for this output, and drops all output up to it. False if the output ends before. */
  async hears(what: Uint8Array | string): Promise<boolean> {
    const wanted = typeof what === "string" ? what : Buffer.from(what).toString("latin1");
    await until(() => this.#output.includes(wanted) || this.#ended);
    const at = this.#output.indexOf(wanted);
    if (at < 0) return false;
    this.#output = this.#output.slice(at + wanted.length);
    return true;
  }

  async gone(): Promise<void> {
    this.#child.stdin.end();
    await this.#child.exited;
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
  }
}

const certified = (...more: readonly string[]): Promise<Served> =>
  serve(["--tls=require", `--tls-certificates=${files.server}`, ...more, "memory", "1M"]);

const ACK = (which: number): Uint8Array => bytes(0x3e889045565a9n, which, 1, 0);
const done = (cookie: bigint): Uint8Array => bytes(0x67446698, 0, cookie);

describe.skipIf(skip)(`a client with TLS${needs}`, () => {
  test("may update its keys, and request an update of the server's", async () => {
    await using server = await certified();
    await using bridge = await tlsBridge(server.socket);
    using client = new OpenSsl(bridge.port, ["-tls1_3"]);
    await client.say(option(7, infoPayload("")));
    expect(await client.hears(ACK(7))).toBe(true);
    let cookie = 1n;
    for (const command of ["K\n", "k\n", "K\n"]) {
      await client.say(command);
      expect(await client.hears("KEYUPDATE")).toBe(true);
      // More than one record, so that some use the new keys in each direction.
      const payload = new Uint8Array(40_000).fill(0x61 + Number(cookie));
      await client.say(request({ type: 1, cookie, payload }));
      expect(await client.hears(done(cookie++))).toBe(true);
      await client.say(request({ type: 0, cookie, count: payload.length }));
      expect(await client.hears(done(cookie++))).toBe(true);
      expect(await client.hears(payload)).toBe(true);
    }
    await client.say(request({ type: 2 }));
    await client.gone();
    expect((await server.stop()).stderr).toBe("");
  }, 30_000);

  test("is disconnected if it renegotiates, without affecting others", async () => {
    await using server = await certified();
    await using bridge = await tlsBridge(server.socket);
    using client = new OpenSsl(bridge.port, ["-tls1_2"]);
    await client.say(option(7, infoPayload("")));
    expect(await client.hears(ACK(7))).toBe(true);
    await client.say("R\n");
    await server.printed(/memory\[1\]: error: TLS: .*handshake/i);
    await client.gone();
    await using again = await tlsBridge(server.socket);
    using other = new OpenSsl(again.port, ["-tls1_2"]);
    await other.say(option(7, infoPayload("")));
    expect(await other.hears(ACK(7))).toBe(true);
  }, 30_000);
});
