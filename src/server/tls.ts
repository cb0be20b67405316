/** Decides whether and how the server offers TLS: finds the files, and explains errors in them. nbdkit(1), "TLS". */
import { accessSync, constants, readdirSync, readFileSync, statSync } from "node:fs";

import { logGnutls } from "#abi/bridge/gnutls-log";

import { environmentVariable } from "../lib/environment.ts";
import { ConfigError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { absolutePath } from "../lib/paths.ts";
import { filePath } from "../lib/text-bytes.ts";
import { messageOf } from "../lib/thrown.ts";
import {
  certificateCredentials,
  pskCredentials,
  type TlsCredentials,
} from "../sys/tls/credentials.ts";
import { whyNoTls } from "../sys/tls/library.ts";
import { tlsHandshakeMs } from "./limits.ts";
import type { TlsOffer } from "./tls-transport.ts";

export interface TlsOptions {
  /** `default`: on if there are certificates or keys. */
  readonly mode: "default" | "off" | "on" | "require";
  /** The directory of the certificates as given. Without it, the usual directories are searched. */
  readonly certificates: string | undefined;
  /** A file of pre-shared keys as given. It takes precedence over certificates. */
  readonly psk: string | undefined;
  /** A priority string of GnuTLS. */
  readonly priority: string | undefined;
  /** Clients must send a certificate. */
  readonly verifyPeer: boolean;
}

/** How the server responds to clients that request TLS. "unsupported": this machine lacks it. */
export type ServerTls =
  | { readonly mode: "off" | "unsupported" }
  | { readonly mode: "on" | "require"; readonly offer: TlsOffer };

const rootFolder = "/etc/pki/nbdkit";

/**
 * Throws ConfigError if TLS is requested and not available. Resolves relative paths now, since a daemon leaves its
 * directory.
 */
export function prepareTls(options: TlsOptions): ServerTls {
  const { mode } = options;
  if (mode === "off") return { mode: "off" };
  const source = options.psk === undefined ? findCertificates(options) : absolutePath(options.psk);
  const missing = mode === "require" || mode === "on" || isFound(source) ? whyNoTls() : undefined;
  if (missing !== undefined) return withoutLibrary(options, missing);
  if (!isFound(source)) return withoutFiles(mode, source.problem);
  const credentials =
    typeof source === "string" ? loadKeys(source, options) : load(source, options);
  for (const warning of credentials.warnings) log.warning(warning);
  log.debug(`TLS enabled using: ${credentials.kind}`);
  const offer = { handshakeMs: tlsHandshakeMs, newSession: credentials.newSession };
  return { mode: mode === "require" ? "require" : "on", offer };
}

/** With -D nbdkit.tls.log, let GnuTLS log what it does. */
export function logTls(tls: ServerTls): void {
  if (log.verbose && log.tlsLevel > 0 && "offer" in tls) logGnutls(log.tlsLevel);
}

/** Whether this machine supports TLS. */
export function canTls(): boolean {
  return whyNoTls() === undefined;
}

interface Missing {
  readonly problem: string;
}

interface Folder {
  readonly path: string;
}

function isFound(source: string | Folder | Missing): source is string | Folder {
  return typeof source === "string" || "path" in source;
}

function withoutLibrary(options: TlsOptions, missing: string): ServerTls {
  const { certificates, mode, psk } = options;
  if (mode !== "default") throw new ConfigError(`--tls=${mode}: TLS is not available: ${missing}`);
  const problem = `TLS is off: ${missing}`;
  if (certificates === undefined && psk === undefined) log.debug(problem);
  else log.warning(problem);
  return { mode: "unsupported" };
}

function withoutFiles(mode: TlsOptions["mode"], problem: string): ServerTls {
  const hint = "see --tls-certificates and --tls-psk in nbdkit(1)";
  if (mode === "require") {
    throw new ConfigError(`--tls=require, but there are no certificates: ${problem}: ${hint}`);
  }
  if (mode === "on") {
    log.warning(
      `--tls=on, but there are no certificates, so that TLS is refused: ${problem}: ${hint}`,
    );
  } else {
    log.debug(`TLS disabled: ${problem}`);
  }
  return { mode: "off" };
}

const authority = "ca-cert.pem";

type Pair = readonly [certificate: string, key: string];
const mainPair: Pair = ["server-cert.pem", "server-key.pem"];

/** The files of the server's certificates and keys: server-cert.pem, then server-cert-0.pem and so on. */
function pairsIn(folder: string): readonly Pair[] {
  const names = new Set(namesIn(folder));
  const numbered = [...names]
    .flatMap((name) => /^server-cert-(0|[1-9][0-9]*)\.pem$/.exec(name)?.[1] ?? [])
    .toSorted((a, b) => Number(a) - Number(b))
    .map((number): Pair => [`server-cert-${number}.pem`, `server-key-${number}.pem`]);
  const hasMain = numbered.length === 0 || mainPair.some((name) => names.has(name));
  return hasMain ? [mainPair, ...numbered] : numbered;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(filePath(folder), "utf8");
  } catch {
    // Reading the file will report the error.
    return [];
  }
}

/** The first directory that has all required files. */
function findCertificates({ certificates }: TlsOptions): Folder | Missing {
  const folders = certificates === undefined ? usualFolders() : [absolutePath(certificates)];
  const problems: string[] = [];
  for (const folder of folders) {
    const problem = unreadable(folder);
    if (problem === undefined) return { path: folder };
    problems.push(problem);
  }
  return { problem: problems.join("; ") || "HOME is not set" };
}

function usualFolders(): readonly string[] {
  if (process.geteuid?.() === 0) return [rootFolder];
  const home = environmentVariable("HOME");
  if (home === undefined) return [];
  return [`${home}/.pki/nbdkit`, `${home}/.config/pki/nbdkit`];
}

function unreadable(folder: string): string | undefined {
  for (const name of [authority, ...pairsIn(folder).flat()]) {
    try {
      accessSync(filePath(`${folder}/${name}`), constants.R_OK);
    } catch (error) {
      return reasonOf(error, `${folder}/${name}`);
    }
  }
  return undefined;
}

function reasonOf(error: unknown, path: string): string {
  return `cannot read ${path}: ${messageOf(error)}`;
}

function load({ path }: Folder, { priority, verifyPeer }: TlsOptions): TlsCredentials {
  const crlPath = `${path}/ca-crl.pem`;
  const crl = statSync(filePath(crlPath), { throwIfNoEntry: false });
  const pairs = pairsIn(path).map(([certificate, key]) => ({
    certificate: fileOf(`${path}/${certificate}`),
    key: fileOf(`${path}/${key}`),
  }));
  const credentials = certificateCredentials(
    { ca: fileOf(`${path}/${authority}`), pairs, crl: crl && fileOf(crlPath) },
    verifyPeer,
    priority,
  );
  log.debug(`successfully loaded TLS certificates from ${path}`);
  return credentials;
}

function fileOf(path: string): { readonly path: string; readonly bytes: Uint8Array } {
  try {
    return { path, bytes: readFileSync(filePath(path)) };
  } catch (error) {
    throw new ConfigError(reasonOf(error, path), { cause: error });
  }
}

/** The file is read again for each client. An invalid line is logged, but does not affect other users. */
function loadKeys(path: string, { priority }: TlsOptions): TlsCredentials {
  const text = Buffer.from(fileOf(path).bytes).toString("latin1");
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#") || /^[^:]+:([0-9A-Fa-f]{2})+\r?$/.test(line)) continue;
    log.warning(`${path}: line ${index + 1}: expected USER:KEY, with the key in hexadecimal`);
  }
  return pskCredentials(path, priority);
}
