/** Certificates and keys for tests. certtool (gnutls-bin) makes them once per process, which removes them. */
import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { temporaryFolder } from "#test/modules";
import { run } from "#test/server";

export interface Pki {
  /** Contains all the others, and a self-signed own-cert.pem with own-key.pem. */
  readonly folder: string;
  /** For the server: ca-cert.pem, server-cert.pem, server-key.pem. */
  readonly server: string;
  /** The same, and a ca-crl.pem that revokes the certificate of `client`. */
  readonly revoking: string;
  /** For a client with a valid certificate: ca-cert.pem, client-cert.pem, client-key.pem. */
  readonly client: string;
  /** For a client without a certificate. */
  readonly anonymous: string;
  /** For a client with a certificate of another authority. */
  readonly stranger: string;
  /** For clients whose certificate has expired, is not valid yet, or is a server's. */
  readonly outdated: string;
  readonly early: string;
  readonly misused: string;
  /** For a client that does not trust the server's authority. */
  readonly distrustful: string;
  /** For a server whose certificate has expired. */
  readonly expired: string;
  /** The keys of the users alice and bob. */
  readonly psk: string;
  /** Another key for alice, and a user that the server does not know. */
  readonly wrongKey: string;
  readonly unknownUser: string;
  readonly keys: Readonly<Record<"alice" | "bob", string>>;
}

let made: Promise<Pki> | undefined;

/** The names in the client's certificate, as RFC 4514 writes them. */
export const clientDn = String.raw`CN=client one,OU=tests,O=Example\, Inc.,C=DE`;
export const issuerDn = "CN=authority of the server";

export function pki(): Promise<Pki> {
  return (made ??= make());
}

async function certtool(...args: readonly string[]): Promise<void> {
  const { code, stderr } = await run(["certtool", ...args]);
  if (code !== 0) throw new Error(`certtool ${args.join(" ")} ended with ${code}:\n${stderr}`);
}

/** Makes a certificate `NAME-cert.pem` with its key `NAME-key.pem`, signed by `issuer` or self-signed. */
async function certify(
  folder: string,
  name: string,
  template: readonly string[],
  issuer?: string,
): Promise<void> {
  const at = (file: string): string => join(folder, file);
  writeFileSync(at(`${name}.template`), template.join("\n"));
  await certtool("--generate-privkey", "--key-type=ecdsa", "--outfile", at(`${name}-key.pem`));
  const common = ["--load-privkey", at(`${name}-key.pem`), "--template", at(`${name}.template`)];
  const signing =
    issuer === undefined
      ? ["--generate-self-signed"]
      : [
          "--generate-certificate",
          "--load-ca-certificate",
          at(`${issuer}-cert.pem`),
          "--load-ca-privkey",
          at(`${issuer}-key.pem`),
        ];
  await certtool(...signing, ...common, "--outfile", at(`${name}-cert.pem`));
}

const authority = (name: string): string[] => [
  `cn = "${name}"`,
  "ca",
  "cert_signing_key",
  "crl_signing_key",
  "expiration_days = 3650",
];
const ofServer = ['cn = "localhost"', 'dns_name = "localhost"', 'ip_address = "127.0.0.1"'];
const ofClient = [
  'cn = "client one"',
  'unit = "tests"',
  'organization = "Example, Inc."',
  "country = DE",
  "tls_www_client",
];
const long = "expiration_days = 3650";

async function make(): Promise<Pki> {
  const folder = mkdtempSync(join(temporaryFolder(), "tls-"));
  await certify(folder, "ca", authority("authority of the server"));
  await certify(folder, "other", authority("another authority"));
  await Promise.all([
    certify(folder, "server", [...ofServer, "tls_www_server", long], "ca"),
    certify(folder, "old", [...ofServer, "tls_www_server", ...past], "ca"),
    certify(folder, "client", [...ofClient, long], "ca"),
    certify(folder, "stranger", [...ofClient, long], "other"),
    certify(folder, "own", [...ofClient, long]),
    certify(folder, "outdated", [...ofClient, ...past], "ca"),
    certify(folder, "early", [...ofClient, ...future], "ca"),
    certify(folder, "misused", ['cn = "no client"', "tls_www_server", long], "ca"),
  ]);
  writeFileSync(join(folder, "crl.template"), "crl_next_update = 3650\ncrl_number = 1\n");
  await certtool(
    "--generate-crl",
    ...["--load-ca-privkey", join(folder, "ca-key.pem")],
    ...["--load-ca-certificate", join(folder, "ca-cert.pem")],
    ...["--load-certificate", join(folder, "client-cert.pem")],
    ...["--template", join(folder, "crl.template"), "--outfile", join(folder, "crl.pem")],
  );
  return arrange(folder);
}

const past = [
  'activation_date = "2020-01-01 00:00:00 UTC"',
  'expiration_date = "2021-02-03 00:00:00 UTC"',
];

const future = [
  'activation_date = "2100-01-01 00:00:00 UTC"',
  'expiration_date = "2110-01-01 00:00:00 UTC"',
];

function arrange(folder: string): Pki {
  /** A folder with copies: `{ "ca-cert": "other-cert" }` copies other-cert.pem to ca-cert.pem. */
  const pack = (name: string, files: Readonly<Record<string, string>>): string => {
    mkdirSync(join(folder, name));
    for (const [to, from] of Object.entries(files)) {
      cpSync(join(folder, `${from}.pem`), join(folder, name, `${to}.pem`));
    }
    return join(folder, name);
  };
  const keys = { alice: "0123456789abcdef".repeat(4), bob: "fedcba9876543210".repeat(4) };
  const write = (name: string, text: string): string => {
    // qemu expects this name.
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, "keys.psk"), text);
    return join(folder, name, "keys.psk");
  };
  const server = { "ca-cert": "ca-cert", "server-cert": "server-cert", "server-key": "server-key" };
  const client = { "ca-cert": "ca-cert", "client-cert": "client-cert", "client-key": "client-key" };
  const clientWith = (name: string): string =>
    pack(`of-${name}`, {
      ...client,
      "client-cert": `${name}-cert`,
      "client-key": `${name}-key`,
    });
  return {
    folder,
    server: pack("of-server", server),
    revoking: pack("of-revoking", { ...server, "ca-crl": "crl" }),
    client: pack("of-client", client),
    anonymous: pack("of-anonymous", { "ca-cert": "ca-cert" }),
    stranger: clientWith("stranger"),
    outdated: clientWith("outdated"),
    early: clientWith("early"),
    misused: clientWith("misused"),
    distrustful: pack("of-distrustful", { "ca-cert": "other-cert" }),
    expired: pack("of-expired", { ...server, "server-cert": "old-cert", "server-key": "old-key" }),
    psk: write("psk", `alice:${keys.alice}\nbob:${keys.bob}\n`),
    wrongKey: write("psk-wrong", `alice:${keys.bob}\n`),
    unknownUser: write("psk-unknown", `carol:${keys.bob}\n`),
    keys,
  };
}
