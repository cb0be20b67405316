/** TLS with one client, over memory: what the client sent goes in, and what is to be sent to it comes out. */
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
import { Arrived, type Emit, wire } from "./wire.ts";

/** The names in a client's certificate, in the form of RFC 4514. */
export interface TlsNames {
  readonly dn: string;
  readonly issuerDn: string;
}

/** Of gnutls_credentials_type_t, and the credentials. */
export interface Proof {
  readonly type: number;
  readonly credentials: Pointer;
}

/** A server that never waits, and gives no tickets for resuming sessions. */
const flags = GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS;

/** The most that a record carries: what is as long is a part of something larger. */
const fullRecordBytes = 16 << 10;

/**
 * A method that throws leaves a session that cannot be used any more, but for `alert` and disposal. Nothing here ever
 * waits for the client.
 */
export class TlsSession implements Disposable {
  readonly #session: Pointer;
  readonly #emit: Emit;
  readonly #hasKeys: boolean;
  readonly #logName: Uint8Array;
  readonly #arrived = new Arrived();
  #disposed = false;
  /** What reading ended with, to be told when what came before was taken. */
  #end: "end" | NbdError | undefined;
  #code = 0;

  constructor(emit: Emit, priority: Priority, { type, credentials }: Proof, logName: string) {
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

  /** Ask the client for a certificate, and accept only those that the credentials trust. */
  verifyPeer(request: number): void {
    const { tls } = library();
    tls.gnutls_certificate_server_set_request(this.#session, request);
    tls.gnutls_session_set_verify_cert(this.#session, null, 0);
  }

  /**
   * Bytes from the client. They must not change until they were read. `own`: no other code uses their memory, which is
   * freed then.
   */
  push(chunk: Uint8Array, own: boolean): void {
    this.#arrived.add(chunk, own);
  }

  /** Bytes from the client that were not looked at. */
  get unread(): number {
    return this.#arrived.length;
  }

  /** The client sends no more. */
  endInput(): void {
    this.#arrived.ended = true;
  }

  /** Go on with the handshake. Whether it is complete; if not, more bytes are needed. Throws where it failed. */
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
   * Put what the client said next into `into`, whose memory does not move, and return how many bytes that is: all that
   * has come and fits, or with `small` what there is before the next long record. "wait": more bytes are needed. "end":
   * it says no more. Throws where it is not genuine.
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
        if (small && this.#arrived.recordBytes >= fullRecordBytes) break;
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

  /**
   * Encrypt and emit as much as is sent in one go. Returns how much that was: at least 1 byte. The
   * memory does not move.
   */
  write(bytes: Uint8Array, start: number, length: number): number {
    const transport = wire();
    const { tls } = transport;
    const address = ptr(bytes) + start;
    let sent = 0;
    this.#begin();
    while (sent < length && transport.hasRoom) {
      // No more than a record is taken at a time.
      const from = (address + sent) as Pointer;
      const count = Number(tls.gnutls_record_send(this.#session, from, length - sent));
      if (count < 0 && count !== GNUTLS_E_INTERRUPTED) throw this.#failure("TLS", count);
      if (count > 0) sent += count;
    }
    transport.end(this.#emit);
    return sent;
  }

  /** Tell the client that nothing more will be sent: it then knows that nothing was cut off. */
  close(): void {
    this.#begin();
    wire().tls.gnutls_bye(this.#session, GNUTLS_SHUT_WR);
    wire().end(this.#emit);
  }

  /** Tell the client why what it sent was refused. */
  alert(): void {
    this.#begin();
    wire().tls.gnutls_alert_send_appropriate(this.#session, this.#code);
    wire().end(this.#emit);
  }

  /** Whether the stream just ended, without the client having said so. */
  get wasCut(): boolean {
    return this.#code === GNUTLS_E_PREMATURE_TERMINATION;
  }

  /** Version, key exchange and cipher, and the user where there is one. */
  describe(): string {
    const { free, tls } = library();
    const address = tls.gnutls_session_get_desc(this.#session);
    if (address === null) return "TLS";
    const text = textAt(address);
    free(address);
    const user = tls.gnutls_psk_server_get_username(this.#session);
    return user === null ? text : `${text} for user ${quoted(textAt(user))}`;
  }

  /** What was agreed on, and how the client has shown who it is, line by line. */
  details(): readonly string[] {
    return sessionDetails(this.#session);
  }

  /** Undefined where the client showed no certificate. */
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
    // GnuTLS would not survive it.
    if (this.#disposed) throw new NbdError("ENOTCONN", "the TLS session has ended");
    wire().begin(this.#session, this.#arrived, this.#logName);
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
    // What comes out of it is no TLS.
    const odd = code === GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER || code === GNUTLS_E_DECRYPTION_FAILED;
    const hint =
      this.#hasKeys && odd ? ": perhaps the client has another key, or no known user" : "";
    return errorText(code) + hint;
  }
}

/** GnuTLS's own words for the result of a verification. */
function verificationText(status: number): string {
  const out = new Out();
  const { gnutls_certificate_verification_status_print: print } = library().tls;
  return print(status, GNUTLS_CRT_X509, out.address, 0) < 0
    ? `status ${status}`
    : out.takeText().trim();
}

/** The operations of a session of either kind. */
export type TlsTalk = { [K in keyof TlsSession]: TlsSession[K] };
