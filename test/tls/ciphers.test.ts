/** The server chooses the client's first cipher with certificates, and a fast one that is as good with keys. */
import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";

import { type Pki, pki } from "./certificates.ts";
import { missing, needing, opensslHandshake } from "./tls-fixture.ts";

const { skip, needs } = needing("openssl");

let files: Pki;
beforeAll(async () => {
  if (missing.length === 0) files = await pki();
});

/** The session that the server logs after a handshake with OpenSSL's client. */
async function agreed(server: readonly string[], client: readonly string[]): Promise<string> {
  const { log } = await opensslHandshake(server, client);
  return /TLS handshake complete: (\S+)/.exec(log)?.[1] ?? log;
}

const knowsAes = /^(flags|Features)\s*:.*\baes\b/m.test(readFileSync("/proc/cpuinfo", "latin1"));
const tls13 = (...ciphers: readonly string[]): string[] => [
  ...["-tls1_3", "-ciphersuites", ciphers.map((name) => `TLS_${name}`).join(":")],
];
const tls12 = (ciphers: string): string[] => ["-tls1_2", "-cipher", ciphers];

describe.skipIf(skip)(`with keys the server${needs}`, () => {
  const withKeys = (client: readonly string[]): Promise<string> =>
    agreed(
      [`--tls-psk=${files.psk}`],
      ["-psk_identity", "alice", "-psk", files.keys.alice, ...client],
    );
  const chacha = "CHACHA20_POLY1305_SHA256";
  const aes = "AES_128_GCM_SHA256";

  test.skipIf(!knowsAes)(
    `chooses AES if the client offers it${knowsAes ? "" : " (needs a processor with AES)"}`,
    async () => {
      expect(await withKeys(tls13("AES_256_GCM_SHA384", chacha, aes))).toContain("(AES-128-GCM)");
    },
  );

  test("accepts ChaCha20 if the client offers nothing else", async () => {
    expect(await withKeys(tls13(chacha))).toContain("(CHACHA20-POLY1305)");
  });

  test("chooses neither an old cipher nor a handshake without forward secrecy in TLS 1.2", async () => {
    const ciphers = "PSK-AES256-GCM-SHA384:ECDHE-PSK-AES256-CBC-SHA:ECDHE-PSK-CHACHA20-POLY1305";
    expect(await withKeys(tls12(ciphers))).toMatch(
      /^\(TLS1\.2\)-\(ECDHE-.*\)-\(CHACHA20-POLY1305\)$/,
    );
  });
});

describe.skipIf(skip)(`with certificates the server${needs}`, () => {
  test.each([
    ["CHACHA20_POLY1305_SHA256", "AES_256_GCM_SHA384", "(CHACHA20-POLY1305)"],
    ["AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256", "(AES-256-GCM)"],
  ])("chooses the client's first cipher: %s before %s", async (first, second, name) => {
    const session = await agreed([`--tls-certificates=${files.server}`], tls13(first, second));
    expect(session).toContain(name);
  });
});
