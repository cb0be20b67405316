/** A TLS session with one client, between buffers: it takes the client's bytes, and emits the bytes to send. */
import { type Pointer, ptr } from "bun:ffi";

import { NbdError } from "../../lib/errors.ts";
import { log } from "../../lib/log.ts";
import { quoted } from "../../lib/quoted.ts";
import {
  GNUTLS_CRD_PSK,
  GNUTLS_CRT_X509,
  GNUTLS_E_AGAIN,
  GNUTLS_E_CERTIFICATE_REQUIRED,
  GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR,
  GNUTLS_E_DECRYPTION_FAILED,
  GNUTLS_E_FATAL_ALERT_RECEIVED,
  GNUTLS_E_INTERRUPTED,
  GNUTLS_E_NO_CERTIFICATE_FOUND,
  GNUTLS_E_PREMATURE_TERMINATION,
  GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER,
  GNUTLS_E_WARNING_ALERT_RECEIVED,
  GNUTLS_NO_SIGNAL,
  GNUTLS_NO_TICKETS,
  GNUTLS_NONBLOCK,
  GNUTLS_SERVER,
  GNUTLS_SHUT_WR,
  GNUTLS_X509_FMT_DER,
} from "../generated/gnutls.gen.ts";
import { cBytes, textAt } from "../text.ts";
import { sessionDetails } from "./details.ts";
import { errorText, library, Out } from "./library.ts";
import { logFor } from "./log.ts";
import type { Priority } from "./priority.ts";
import { type Emit, fullRecordBytes, ReceivedBytes, wire } from "./wire.ts";

/** The subject and issuer of a client's certificate, in the form of RFC 4514. */
export interface TlsNames {
  readonly dn: string;
  readonly issuerDn: string;
}

/** Credentials, and their gnutls_credentials_type_t. */
export interface SessionCredentials {
  readonly type: number;
  readonly credentials: Pointer;
}

/** The session never blocks, and issues no tickets for resuming sessions. */
const flags = GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS;

/** No method waits for the client. After a method has thrown, only `alert` and disposal are allowed. */
export class TlsSession implements Disposable {
  readonly #session: Pointer;
  readonly #emit: Emit;
  readonly #hasKeys: boolean;
  readonly #logName: Uint8Array;
  readonly #received = new ReceivedBytes();
  #disposed = false;
  /** The end of the client's data. `read` reports it once all data before it has been read. */
  #end: "end" | NbdError | undefined;
  #code = 0;

  constructor(
    emit: Emit,
    priority: Priority,
    { type, credentials }: SessionCredentials,
    logName: string,
  ) {
    const { tls } = library();
    log.debug(`TLS: priority string: ${priority.text}`, logName);
    this.#logName = cBytes(logName);
    logFor(this.#logName);
    const out = new Out();
    this.#check(tls.gnutls_init(out.address, flags));
    this.#session = out.value;
    this.#emit = emit;
    this.#hasKeys = type === GNUTLS_CRD_PSK;
    this.#check(tls.gnutls_priority_set(this.#session, priority.pointer));
    this.#check(tls.gnutls_credentials_set(this.#session, type, credentials));
    wire().attach(this.#session);
    logFor(null);
  }

  /** Request a certificate from the client, and accept only those that the credentials trust. */
  verifyPeer(request: number): void {
    const { tls } = library();
    tls.gnutls_certificate_server_set_request(this.#session, request);
    tls.gnutls_session_set_verify_cert(this.#session, null, 0);
  }

  /**
   * Add bytes from the client. They must not change until they have been read. With `own` no other code uses their
   * memory, so the session frees it.
   */
  push(chunk: Uint8Array, own: boolean): void {
    this.#received.add(chunk, own);
  }

  /** The number of bytes from the client that are not yet decrypted. */
  get unread(): number {
    return this.#received.length;
  }

  /** The client sends no more. */
  endInput(): void {
    this.#received.ended = true;
  }

  /** Continue the handshake. False if it needs more bytes from the client. Throws if it fails. */
  handshake(): boolean {
    const { tls } = wire();
    for (;;) {
      this.#begin();
      const code = tls.gnutls_handshake(this.#session);
      wire().end(this.#emit);
      if (code === 0) return true;
      if (code === GNUTLS_E_AGAIN) return false;
      if (tls.gnutls_error_is_fatal(code) !== 0) throw this.#failure("TLS handshake", code);
    }
  }

  /**
   * Decrypt the client's next data into `into`, whose memory must not move. Returns the number of bytes: all data that
   * has arrived and fits, or with `small` only up to the next full record. "wait" means that more bytes must arrive,
   * "end" that the client sends no more. Throws if the data is not authentic.
   */
  read(into: Uint8Array, small = false): number | "wait" | "end" {
    if (this.#end !== undefined) return this.#ended(this.#end);
    const { tls } = wire();
    const address = ptr(into);
    const { length } = into;
    let filled = 0;
    this.#begin();
    while (filled < length) {
      const to = (address + filled) as Pointer;
      const count = Number(tls.gnutls_record_recv(this.#session, to, length - filled));
      if (count > 0) {
        filled += count;
        if (small && this.#received.recordBytes >= fullRecordBytes) break;
      } else if (count === GNUTLS_E_AGAIN) {
        break;
      } else if (count !== GNUTLS_E_INTERRUPTED && count !== GNUTLS_E_WARNING_ALERT_RECEIVED) {
        this.#end = count === 0 ? "end" : this.#failure("TLS", count);
        break;
      }
    }
    wire().end(this.#emit);
    if (filled > 0) return filled;
    return this.#end === undefined ? "wait" : this.#ended(this.#end);
  }

  /** Encrypt and emit as much as fits into one buffer. Returns the number of bytes, at least 1. They must not move. */
  write(bytes: Uint8Array, start: number, length: number): number {
    const transport = wire();
    const { tls } = transport;
    const address = ptr(bytes) + start;
    let sent = 0;
    this.#begin();
    while (sent < length && transport.hasRoom) {
      // GnuTLS takes at most one record at a time.
      const from = (address + sent) as Pointer;
      const count = Number(tls.gnutls_record_send(this.#session, from, length - sent));
      if (count < 0 && count !== GNUTLS_E_INTERRUPTED) throw this.#failure("TLS", count);
      if (count > 0) sent += count;
    }
    transport.end(this.#emit);
    return sent;
  }

  /** Send the client a close notification, so that it knows that the stream is complete. */
  close(): void {
    this.#begin();
    wire().tls.gnutls_bye(this.#session, GNUTLS_SHUT_WR);
    wire().end(this.#emit);
  }

  /** Send the client an alert for the last error. */
  alert(): void {
    this.#begin();
    wire().tls.gnutls_alert_send_appropriate(this.#session, this.#code);
    wire().end(this.#emit);
  }

  /** Whether the stream ended without the client's close notification. */
  get endedEarly(): boolean {
    return this.#code === GNUTLS_E_PREMATURE_TERMINATION;
  }

  /** The version, key exchange and cipher, and the user of a pre-shared key. */
  describe(): string {
    const { free, tls } = library();
    const address = tls.gnutls_session_get_desc(this.#session);
    if (address === null) return "TLS";
    const text = textAt(address);
    free(address);
    const user = tls.gnutls_psk_server_get_username(this.#session);
    return user === null ? text : `${text} for user ${quoted(textAt(user))}`;
  }

  /** The negotiated algorithms and the client's authentication, one line each. */
  details(): readonly string[] {
    return sessionDetails(this.#session);
  }

  /** The names in the client's certificate; undefined if it presented none. */
  names(): TlsNames | undefined {
    const { tls } = library();
    const out = new Out();
    const chain = tls.gnutls_certificate_get_peers(this.#session, out.address);
    if (chain === null) return undefined;
    this.#check(tls.gnutls_x509_crt_init(out.address));
    const certificate = out.value;
    try {
      this.#check(tls.gnutls_x509_crt_import(certificate, chain, GNUTLS_X509_FMT_DER));
      this.#check(tls.gnutls_x509_crt_get_dn3(certificate, out.address, 0));
      const dn = out.takeText();
      this.#check(tls.gnutls_x509_crt_get_issuer_dn3(certificate, out.address, 0));
      return { dn, issuerDn: out.takeText() };
    } finally {
      tls.gnutls_x509_crt_deinit(certificate);
    }
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    library().tls.gnutls_deinit(this.#session);
  }

  #begin(): void {
    // GnuTLS would crash.
    if (this.#disposed) throw new NbdError("ENOTCONN", "the TLS session has ended");
    wire().begin(this.#session, this.#received, this.#logName);
  }

  #ended(end: "end" | NbdError): "end" {
    if (end === "end") return end;
    throw end;
  }

  #check(code: number): void {
    if (code < 0) throw this.#failure("TLS", code);
  }

  #failure(what: string, code: number): NbdError {
    this.#code = code;
    return new NbdError("EPROTO", `${what}: ${this.#reason(code)}`);
  }

  #reason(code: number): string {
    const { tls } = library();
    if (code === GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR) {
      const status = tls.gnutls_session_get_verify_cert_status(this.#session);
      return `the client's certificate is refused: ${verificationText(status)}`;
    }
    if (code === GNUTLS_E_FATAL_ALERT_RECEIVED) {
      const name = tls.gnutls_alert_get_name(tls.gnutls_alert_get(this.#session));
      const alert = name === null ? "unknown" : textAt(name);
      return `the client refuses: ${alert}`;
    }
    if (code === GNUTLS_E_NO_CERTIFICATE_FOUND || code === GNUTLS_E_CERTIFICATE_REQUIRED) {
      return "the client showed no certificate";
    }
    // With a wrong key, decryption produces garbage.
    const odd = code === GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER || code === GNUTLS_E_DECRYPTION_FAILED;
    const hint =
      this.#hasKeys && odd ? ": perhaps the client has another key, or no known user" : "";
    return errorText(code) + hint;
  }
}

/** GnuTLS's text for the result of a verification. */
function verificationText(status: number): string {
  const out = new Out();
  const { gnutls_certificate_verification_status_print: print } = library().tls;
  return print(status, GNUTLS_CRT_X509, out.address, 0) < 0
    ? `status ${status}`
    : out.takeText().trim();
}

/** The operations of a session, which tests implement without GnuTLS. */
export type TlsOperations = { [K in keyof TlsSession]: TlsSession[K] };
