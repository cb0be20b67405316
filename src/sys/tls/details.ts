/** All about a session, for people who look for a mistake: -D nbdkit.tls.session=1. */
import { type Pointer, ptr } from "bun:ffi";

import { openSystemLibrary } from "../system-library.ts";
import { textAt } from "../text.ts";
import { library, libraryName, Out } from "./library.ts";

/** Of GnuTLS 3.6.0 (2017) and later. */
const groupSymbols = {
  gnutls_group_get: { args: ["ptr"], returns: "i32" },
  gnutls_group_get_name: { args: ["i32"], returns: "ptr" },
} as const;

const CRD_CERTIFICATE = 1;
const CRD_PSK = 4;
const DER = 0;
const PRINT_ONELINE = 1;

/** What was agreed on, and how the client has shown who it is, line by line. */
export function sessionDetails(session: Pointer): readonly string[] {
  const { free, tls } = library();
  const description = tls.gnutls_session_get_desc(session);
  const lines = [
    `TLS session: ${textOrNone(description)}`,
    ...authentication(session, tls.gnutls_auth_get_type(session)),
    ...group(session),
  ];
  if (description !== null) free(description);
  return lines;
}

function authentication(session: Pointer, type: number): readonly string[] {
  const { tls } = library();
  if (type === CRD_PSK) {
    const user = textOrNone(tls.gnutls_psk_server_get_username(session));
    return ["TLS: authentication: PSK (Pre-Shared Key)", `TLS: PSK username: ${user}`];
  }
  if (type !== CRD_CERTIFICATE) return [`TLS: authentication: type ${type}`];
  return ["TLS: authentication: certificate", ...certificates(session)];
}

/** Those that the client showed. */
function certificates(session: Pointer): readonly string[] {
  const { tls } = library();
  const count = new Uint32Array(new ArrayBuffer(16));
  const first = tls.gnutls_certificate_get_peers(session, ptr(count));
  if (first === null) return ["TLS: no peer certificates found"];
  const datumBytes = 16;
  const shown = Array.from({ length: count[0] ?? 0 }, (_, i) =>
    oneLine((Number(first) + i * datumBytes) as Pointer),
  );
  return [
    `TLS: peer provided ${shown.length} certificate(s)`,
    ...shown.map((one) => `TLS: ${one}`),
  ];
}

/** In GnuTLS's words. `der` is a gnutls_datum_t. */
function oneLine(der: Pointer): string {
  const { tls } = library();
  const out = new Out();
  if (tls.gnutls_x509_crt_init(out.address) < 0) return "out of memory";
  const certificate = out.value;
  try {
    if (tls.gnutls_x509_crt_import(certificate, der, DER) < 0) return "not readable";
    const code = tls.gnutls_x509_crt_print(certificate, PRINT_ONELINE, out.address);
    return code < 0 ? "not readable" : out.takeText();
  } finally {
    tls.gnutls_x509_crt_deinit(certificate);
  }
}

function group(session: Pointer): readonly string[] {
  try {
    const { gnutls_group_get: get, gnutls_group_get_name: nameOf } = openSystemLibrary(
      libraryName,
      groupSymbols,
    );
    const name = nameOf(get(session));
    return name === null ? [] : [`TLS: negotiated group: ${textAt(name as Pointer)}`];
  } catch {
    // This GnuTLS does not tell.
    return [];
  }
}

function textOrNone(address: Pointer | bigint | null): string {
  return address === null ? "" : textAt(address as Pointer);
}
