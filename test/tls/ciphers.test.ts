/** Which cipher is agreed on: the client's first choice with certificates, and a fast one that is as good with keys. */
import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import { installed, run, serve } from "#test/server";

import { tlsBridge } from "./bridge.ts";
import { type Pki, pki } from "./certificates.ts";
import { missing } from "./tls-fixture.ts";

const absent = [...missing, ...(installed("openssl") ? [] : ["openssl"])];
const needs = absent.length > 0 ? ` (needs ${absent.join(", ")})` : "";

let files: Pki;
beforeAll(async () => {
  if (missing.length === 0) files = await pki();
});

/** The server's report of a handshake with OpenSSL's client. */
async function agreed(server: readonly string[], client: readonly string[]): Promise<string> {
  await using serving = await serve(["-v", "--tls=require", ...server, "memory", "1M"]);
  await using bridge = await tlsBridge(serving.socket);
  const where = ["-connect", `127.0.0.1:${bridge.port}`, "-servername", "localhost"];
  const done = run(["openssl", "s_client", ...where, ...client], { stdin: "" });
  const [, session = ""] = await serving.printed(/TLS handshake complete: (\S+)/);
  await done;
  return session;
}

const knowsAes = /^(flags|Features)\s*:.*\baes\b/m.test(readFileSync("/proc/cpuinfo", "latin1"));
const tls13 = (...ciphers: readonly string[]): string[] => [
  ...["-tls1_3", "-ciphersuites", ciphers.map((name) => `TLS_${name}`).join(":")],
];
const tls12 = (ciphers: string): string[] => ["-tls1_2", "-cipher", ciphers];

describe.skipIf(absent.length > 0)(`with keys${needs}`, () => {
  const withKeys = (client: readonly string[]): Promise<string> =>
    agreed(
      [`--tls-psk=${files.psk}`],
      ["-psk_identity", "alice", "-psk", files.keys.alice, ...client],
    );
  const chacha = "CHACHA20_POLY1305_SHA256";
  const aes = "AES_128_GCM_SHA256";

  test.skipIf(!knowsAes)(
    `AES is taken where it is offered${knowsAes ? "" : " (needs a processor with AES)"}`,
    async () => {
      expect(await withKeys(tls13("AES_256_GCM_SHA384", chacha, aes))).toContain("(AES-128-GCM)");
    },
  );

  test("ChaCha20 is taken where nothing else is offered", async () => {
    expect(await withKeys(tls13(chacha))).toContain("(CHACHA20-POLY1305)");
  });

  test("in TLS 1.2 nothing old is taken for it, and no handshake whose secrets could be known later", async () => {
    const ciphers = "PSK-AES256-GCM-SHA384:ECDHE-PSK-AES256-CBC-SHA:ECDHE-PSK-CHACHA20-POLY1305";
    expect(await withKeys(tls12(ciphers))).toMatch(
      /^\(TLS1\.2\)-\(ECDHE-.*\)-\(CHACHA20-POLY1305\)$/,
    );
  });
});

describe.skipIf(absent.length > 0)(`with certificates${needs}`, () => {
  test.each([
    ["CHACHA20_POLY1305_SHA256", "AES_256_GCM_SHA384", "(CHACHA20-POLY1305)"],
    ["AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256", "(AES-256-GCM)"],
  ])("the client's first choice is taken: %s before %s", async (first, second, name) => {
    const said = await agreed([`--tls-certificates=${files.server}`], tls13(first, second));
    expect(said).toContain(name);
  });
});
