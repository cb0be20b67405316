/** The functions of GnuTLS that TLS needs, loaded when they are first asked for, and kept. */
import { CFunction, FFIType, type Pointer, ptr, read, toArrayBuffer } from "bun:ffi";

import { textOf } from "../../lib/text-bytes.ts";
import { messageOf } from "../../lib/thrown.ts";
import { openLibc } from "../libc.ts";
import { openSystemLibrary } from "../system-library.ts";
import { cBytes, textAt } from "../text.ts";

/** The library's name since 2013. All functions that TLS cannot do without are of 3.5.7 (2016) or older. */
export const libraryName = "libgnutls.so.30";

const symbols = {
  gnutls_alert_get: { args: ["ptr"], returns: "i32" },
  gnutls_alert_get_name: { args: ["i32"], returns: "ptr" },
  gnutls_alert_send_appropriate: { args: ["ptr", "i32"], returns: "i32" },
  gnutls_auth_get_type: { args: ["ptr"], returns: "i32" },
  gnutls_bye: { args: ["ptr", "i32"], returns: "i32" },
  gnutls_certificate_allocate_credentials: { args: ["ptr"], returns: "i32" },
  gnutls_certificate_free_credentials: { args: ["ptr"], returns: "void" },
  gnutls_certificate_get_peers: { args: ["ptr", "ptr"], returns: "ptr" },
  gnutls_certificate_server_set_request: { args: ["ptr", "i32"], returns: "void" },
  gnutls_certificate_set_x509_crl_mem: { args: ["ptr", "ptr", "i32"], returns: "i32" },
  gnutls_certificate_set_x509_key_mem: { args: ["ptr", "ptr", "ptr", "i32"], returns: "i32" },
  gnutls_certificate_set_x509_trust_mem: { args: ["ptr", "ptr", "i32"], returns: "i32" },
  gnutls_certificate_verification_status_print: {
    args: ["u32", "i32", "ptr", "u32"],
    returns: "i32",
  },
  gnutls_credentials_set: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  gnutls_deinit: { args: ["ptr"], returns: "void" },
  gnutls_error_is_fatal: { args: ["i32"], returns: "i32" },
  gnutls_handshake: { args: ["ptr"], returns: "i32" },
  gnutls_init: { args: ["ptr", "u32"], returns: "i32" },
  gnutls_priority_deinit: { args: ["ptr"], returns: "void" },
  gnutls_priority_init: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  gnutls_priority_set: { args: ["ptr", "ptr"], returns: "i32" },
  gnutls_psk_allocate_server_credentials: { args: ["ptr"], returns: "i32" },
  gnutls_psk_free_server_credentials: { args: ["ptr"], returns: "void" },
  gnutls_psk_server_get_username: { args: ["ptr"], returns: "ptr" },
  gnutls_psk_set_server_credentials_file: { args: ["ptr", "ptr"], returns: "i32" },
  gnutls_record_check_pending: { args: ["ptr"], returns: FFIType.u64_fast },
  gnutls_record_recv: { args: ["ptr", "ptr", FFIType.u64_fast], returns: FFIType.i64_fast },
  gnutls_record_send: { args: ["ptr", "ptr", FFIType.u64_fast], returns: FFIType.i64_fast },
  gnutls_session_get_desc: { args: ["ptr"], returns: "ptr" },
  gnutls_session_get_verify_cert_status: { args: ["ptr"], returns: "u32" },
  gnutls_session_set_verify_cert: { args: ["ptr", "ptr", "u32"], returns: "void" },
  gnutls_strerror: { args: ["i32"], returns: "ptr" },
  gnutls_transport_set_errno: { args: ["ptr", "i32"], returns: "void" },
  gnutls_transport_set_pull_function: { args: ["ptr", "ptr"], returns: "void" },
  gnutls_transport_set_pull_timeout_function: { args: ["ptr", "ptr"], returns: "void" },
  gnutls_transport_set_push_function: { args: ["ptr", "ptr"], returns: "void" },
  gnutls_x509_crt_deinit: { args: ["ptr"], returns: "void" },
  gnutls_x509_crt_get_activation_time: { args: ["ptr"], returns: "i64" },
  gnutls_x509_crt_get_dn3: { args: ["ptr", "ptr", "u32"], returns: "i32" },
  gnutls_x509_crt_get_expiration_time: { args: ["ptr"], returns: "i64" },
  gnutls_x509_crt_get_issuer_dn3: { args: ["ptr", "ptr", "u32"], returns: "i32" },
  gnutls_x509_crt_import: { args: ["ptr", "ptr", "i32"], returns: "i32" },
  gnutls_x509_crt_init: { args: ["ptr"], returns: "i32" },
  gnutls_x509_crt_print: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  gnutls_x509_privkey_deinit: { args: ["ptr"], returns: "void" },
  gnutls_x509_privkey_import2: { args: ["ptr", "ptr", "i32", "ptr", "u32"], returns: "i32" },
  gnutls_x509_privkey_init: { args: ["ptr"], returns: "i32" },
} as const;

const libcSymbols = {
  dlopen: { args: ["ptr", "i32"], returns: "ptr" },
  dlsym: { args: ["ptr", "ptr"], returns: "ptr" },
  memcpy: { args: ["ptr", "ptr", FFIType.u64_fast], returns: "void" },
} as const;
const RTLD_NOW = 2;

function load() {
  const { tls, c } = { tls: openSystemLibrary(libraryName, symbols), c: openLibc(libcSymbols) };
  return { tls, c, free: freeOf(c) };
}

/**
 * Frees what GnuTLS has allocated: a pointer that it exports. libc's own function is a different one if a user put
 * another allocator in front of it.
 */
function freeOf({ dlopen: open, dlsym }: ReturnType<typeof openLibc<typeof libcSymbols>>) {
  const variable = dlsym(open(cBytes(libraryName), RTLD_NOW), cBytes("gnutls_free"));
  if (variable === null) throw new Error("it exports no gnutls_free");
  const address = read.ptr(variable as Pointer, 0) as Pointer;
  return CFunction({ ptr: address, args: ["ptr"], returns: "void" });
}

/** GnuTLS, and what libc has to do with its memory. */
export type Library = ReturnType<typeof load>;

let loaded: Library | undefined;

/** GnuTLS. Throws where it is not installed. */
export function library(): Library {
  return (loaded ??= load());
}

/** Why TLS cannot be used on this machine, or undefined where it can. */
export function whyNoTls(): string | undefined {
  try {
    library();
    return undefined;
  } catch (error) {
    const reason = messageOf(error);
    return `the library GnuTLS cannot be loaded (${libraryName}): ${reason}`;
  }
}

/** What GnuTLS calls an error. */
export function errorText(code: number): string {
  const text = library().tls.gnutls_strerror(code);
  return text === null ? `error ${code}` : textAt(text as Pointer).replace(/\.$/, "");
}

/** A pointer that a function stores where it is told to. Its memory never moves. */
export class Out {
  readonly #memory = new BigUint64Array(new ArrayBuffer(16));

  get address(): Pointer {
    return ptr(this.#memory);
  }

  get value(): Pointer {
    return Number(this.#memory[0] ?? 0n) as Pointer;
  }

  /** A gnutls_datum_t that GnuTLS allocated, as text; its memory is freed. */
  takeText(): string {
    const [data = 0n, size = 0n] = this.#memory;
    if (data === 0n) return "";
    const length = Number(size & 0xffff_ffffn);
    // No view has a length of 0.
    const text =
      length === 0 ? "" : textOf(new Uint8Array(toArrayBuffer(Number(data) as Pointer, 0, length)));
    library().free(Number(data) as Pointer);
    return text;
  }
}

/** Bytes as a gnutls_datum_t, to be passed as an argument while this is referenced. */
export class Datum {
  readonly #bytes: Uint8Array;
  readonly #struct = new BigUint64Array(new ArrayBuffer(16));

  constructor(bytes: Uint8Array) {
    // With a zero after it, for parsers that take it as a string.
    this.#bytes = new Uint8Array(new ArrayBuffer(bytes.length + 1));
    this.#bytes.set(bytes);
    this.#struct[0] = BigInt(ptr(this.#bytes));
    this.#struct[1] = BigInt(bytes.length);
  }

  get address(): Pointer {
    return ptr(this.#struct);
  }
}
