/** The debug lines of `-D nbdkit.tls.session=1`. */
import { type Pointer, ptr } from "bun:ffi";

import { fixed } from "../call.ts";
import {
  GNUTLS_CRD_CERTIFICATE,
  GNUTLS_CRD_PSK,
  GNUTLS_CRT_PRINT_ONELINE,
  GNUTLS_X509_FMT_DER,
  sizeOf,
} from "../generated/gnutls.gen.ts";
import { textAt } from "../text.ts";
import { groupLibrary, library, Out } from "./library.ts";

/** The negotiated algorithms and the client's authentication, one line each. */
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
  if (type === GNUTLS_CRD_PSK) {
    const user = textOrNone(tls.gnutls_psk_server_get_username(session));
    return ["TLS: authentication: PSK (Pre-Shared Key)", `TLS: PSK username: ${user}`];
  }
  if (type !== GNUTLS_CRD_CERTIFICATE) return [`TLS: authentication: type ${type}`];
  return ["TLS: authentication: certificate", ...certificates(session)];
}

/** The client's certificates. */
function certificates(session: Pointer): readonly string[] {
  const { tls } = library();
  const count = fixed(Uint32Array, 1);
  const first = tls.gnutls_certificate_get_peers(session, ptr(count));
  if (first === null) return ["TLS: no peer certificates found"];
  const shown = Array.from({ length: count[0] ?? 0 }, (_, i) =>
    oneLine((Number(first) + i * sizeOf.gnutls_datum_t) as Pointer),
  );
  return [
    `TLS: peer provided ${shown.length} certificate(s)`,
    ...shown.map((one) => `TLS: ${one}`),
  ];
}

/** GnuTLS's description of a certificate. `der` is a gnutls_datum_t. */
function oneLine(der: Pointer): string {
  const { tls } = library();
  const out = new Out();
  if (tls.gnutls_x509_crt_init(out.address) < 0) return "out of memory";
  const certificate = out.value;
  try {
    if (tls.gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) < 0)
      return "not readable";
    const code = tls.gnutls_x509_crt_print(certificate, GNUTLS_CRT_PRINT_ONELINE, out.address);
    return code < 0 ? "not readable" : out.takeText();
  } finally {
    tls.gnutls_x509_crt_deinit(certificate);
  }
}

function group(session: Pointer): readonly string[] {
  const groups = groupLibrary();
  const name = groups?.gnutls_group_get_name(groups.gnutls_group_get(session)) ?? null;
  return name === null ? [] : [`TLS: negotiated group: ${textAt(name)}`];
}

function textOrNone(address: Pointer | bigint | null): string {
  return address === null ? "" : textAt(address);
}
