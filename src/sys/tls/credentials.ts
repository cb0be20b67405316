/** The server's TLS credentials: certificates in files, or keys that it shares with its users. */
import type { Pointer } from "bun:ffi";

import { ConfigError } from "../../lib/errors.ts";
import {
  GNUTLS_CERT_REQUIRE,
  GNUTLS_CRD_CERTIFICATE,
  GNUTLS_CRD_PSK,
  GNUTLS_X509_FMT_PEM,
} from "../generated/gnutls.gen.ts";
import { cBytes } from "../text.ts";
import { Datum, errorText, library, Out } from "./library.ts";
import { priorityFor } from "./priority.ts";
import { TlsSession } from "./session.ts";
import type { Emit } from "./wire.ts";

interface TlsFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface CertificateFiles {
  /** The authorities that sign clients' certificates. */
  readonly ca: TlsFile;
  /** Revoked certificates. */
  readonly crl?: TlsFile | undefined;
  /** At least one. The server chooses one by the algorithms that the client accepts. */
  readonly pairs: readonly CertificatePair[];
}

interface CertificatePair {
  readonly certificate: TlsFile;
  readonly key: TlsFile;
}

/** Never freed, since the server uses its credentials until the process ends. */
export interface TlsCredentials {
  /** For messages: "X.509 certificates". */
  readonly kind: string;
  /** Problems that do not prevent the server from serving clients. */
  readonly warnings: readonly string[];
  /** A session with a client. `emit` sends bytes to the client. Debug lines start with `logName`. */
  newSession(emit: Emit, logName: string): TlsSession;
}

/**
 * Load certificates in PEM form. With `verifyPeer`, clients must present a certificate that one of `ca` has signed.
 * Throws ConfigError that names the bad file.
 */
export function certificateCredentials(
  files: CertificateFiles,
  verifyPeer: boolean,
  priorities: string | undefined,
): TlsCredentials {
  const { tls } = library();
  const out = new Out();
  check("no credentials", tls.gnutls_certificate_allocate_credentials(out.address));
  const credentials = out.value;
  const warnings: string[] = [];
  const { ca, crl, pairs } = files;
  const trusted = tls.gnutls_certificate_set_x509_trust_mem(
    credentials,
    new Datum(ca.bytes).address,
    GNUTLS_X509_FMT_PEM,
  );
  if (trusted <= 0) {
    const problem = `${ca.path}: no certificate in PEM form is in this file: ${errorText(trusted)}`;
    if (verifyPeer) throw new ConfigError(problem);
    warnings.push(problem);
  }
  if (crl !== undefined) {
    const list = new Datum(crl.bytes);
    check(
      `${crl.path}: expected a list of revoked certificates in PEM form`,
      tls.gnutls_certificate_set_x509_crl_mem(credentials, list.address, GNUTLS_X509_FMT_PEM),
    );
  }
  for (const pair of pairs) {
    addPair(credentials, pair);
    warnings.push(...expiryOf(pair.certificate));
  }
  warnings.push(...expiryOf(ca));
  const priority = priorityFor("certificates", priorities);
  return {
    kind: "X.509 certificates",
    warnings,
    newSession(emit, logName) {
      const sessionCredentials = { type: GNUTLS_CRD_CERTIFICATE, credentials };
      const session = new TlsSession(emit, priority, sessionCredentials, logName);
      if (verifyPeer) session.verifyPeer(GNUTLS_CERT_REQUIRE);
      return session;
    },
  };
}

/** Load keys from a file with lines `user:hexadecimal`. GnuTLS reads the file again for each client. */
export function pskCredentials(path: string, priorities: string | undefined): TlsCredentials {
  const { tls } = library();
  const out = new Out();
  check("no credentials", tls.gnutls_psk_allocate_server_credentials(out.address));
  const credentials = out.value;
  check(path, tls.gnutls_psk_set_server_credentials_file(credentials, cBytes(path)));
  const priority = priorityFor("keys", priorities);
  return {
    kind: "pre-shared keys (PSK)",
    warnings: [],
    newSession: (emit, logName) =>
      new TlsSession(emit, priority, { type: GNUTLS_CRD_PSK, credentials }, logName),
  };
}

function check(what: string, code: number): void {
  if (code < 0) throw new ConfigError(`${what}: ${errorText(code)}`);
}

function addPair(credentials: Pointer, pair: CertificatePair): void {
  const [certificate, key] = [new Datum(pair.certificate.bytes), new Datum(pair.key.bytes)];
  const code = library().tls.gnutls_certificate_set_x509_key_mem(
    credentials,
    certificate.address,
    key.address,
    GNUTLS_X509_FMT_PEM,
  );
  if (code < 0) throw badPair(pair, code);
}

/** The error that names the bad one of the two files. */
function badPair({ certificate, key }: CertificatePair, code: number): ConfigError {
  using parsed = parseCertificate(certificate);
  if (parsed.code < 0) {
    return new ConfigError(
      `${certificate.path}: expected a certificate in PEM form: ${errorText(parsed.code)}`,
    );
  }
  const keyCode = parseKey(key);
  if (keyCode < 0) {
    return new ConfigError(
      `${key.path}: expected a private key in PEM form, without a password: ${errorText(keyCode)}`,
    );
  }
  return new ConfigError(`${certificate.path}, ${key.path}: ${errorText(code)}`);
}

function parseKey(file: TlsFile): number {
  const { tls } = library();
  const out = new Out();
  const code = tls.gnutls_x509_privkey_init(out.address);
  if (code < 0) return code;
  const data = new Datum(file.bytes);
  const result = tls.gnutls_x509_privkey_import2(
    out.value,
    data.address,
    GNUTLS_X509_FMT_PEM,
    null,
    0,
  );
  tls.gnutls_x509_privkey_deinit(out.value);
  return result;
}

/** The first certificate in the file. */
function parseCertificate(file: TlsFile) {
  const { tls } = library();
  const out = new Out();
  check("no certificate", tls.gnutls_x509_crt_init(out.address));
  const certificate = out.value;
  const data = new Datum(file.bytes);
  return {
    certificate,
    code: tls.gnutls_x509_crt_import(certificate, data.address, GNUTLS_X509_FMT_PEM),
    [Symbol.dispose]: () => tls.gnutls_x509_crt_deinit(certificate),
  };
}

/** Warnings for certificates that clients will refuse. nbdkit serves with them, so the server does too. */
function expiryOf(file: TlsFile): string[] {
  const { tls } = library();
  using parsed = parseCertificate(file);
  if (parsed.code < 0) return [];
  const begins = Number(tls.gnutls_x509_crt_get_activation_time(parsed.certificate)) * 1000;
  const ends = Number(tls.gnutls_x509_crt_get_expiration_time(parsed.certificate)) * 1000;
  if (ends >= 0 && ends < Date.now()) {
    return [`${file.path}: the certificate has expired on ${day(ends)}: clients will refuse it`];
  }
  if (begins > Date.now()) {
    return [`${file.path}: the certificate is not valid before ${day(begins)}`];
  }
  return [];
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
