/** What GnuTLS takes for a connection: memory that it reads from and writes to, through functions that it calls. */
import { FFIType, JSCallback, type Pointer, ptr } from "bun:ffi";

import { type Library, library } from "./library.ts";

/** Sends bytes to the client. They are valid during the call only. */
export type Emit = (bytes: Uint8Array) => void;

/** The most that a record of TLS carries, and what the protocol may add to it. */
const recordBytes = 16 << 10;
const recordExtraBytes = 1 << 10;
/** So much is encrypted before it is sent. The first flight of a handshake has to fit, too. */
const wireBytes = 288 << 10;

const EAGAIN = 11;
const ECONNABORTED = 103;

/** What came from one client and was not decrypted. */
export interface Arrived {
  bytes: Uint8Array;
  at: number;
  /** No more will come. */
  ended: boolean;
  /** Bytes that GnuTLS has taken. */
  taken: number;
}

/** One for all sessions: none of them runs while another one does. */
class Wire {
  readonly tls: Library["tls"];
  readonly #memcpy: Library["c"]["memcpy"];
  // Over an ArrayBuffer of its own: such memory never moves.
  readonly #bytes = new Uint8Array(new ArrayBuffer(wireBytes));
  readonly #address = Number(ptr(this.#bytes));
  #used = 0;
  #session: Pointer | null = null;
  #arrived: Arrived = { bytes: this.#bytes, at: 0, ended: true, taken: 0 };
  readonly #push: JSCallback;
  readonly #pull: JSCallback;
  readonly #wait: JSCallback;

  constructor({ tls, c }: Library) {
    this.tls = tls;
    this.#memcpy = c.memcpy;
    this.#push = new JSCallback(
      (_session: Pointer, from: Pointer, count: number) => this.#write(from, count),
      { args: ["ptr", "ptr", FFIType.u64_fast], returns: "i64" },
    );
    this.#pull = new JSCallback(
      (_session: Pointer, to: Pointer, count: number) => this.#read(to, count),
      { args: ["ptr", "ptr", FFIType.u64_fast], returns: "i64" },
    );
    // GnuTLS would look at a socket otherwise.
    this.#wait = new JSCallback(() => 1, { args: ["ptr", "u32"], returns: "i32" });
  }

  /** Make a new session use it. */
  attach(session: Pointer): void {
    this.tls.gnutls_transport_set_push_function(session, this.#push.ptr);
    this.tls.gnutls_transport_set_pull_function(session, this.#pull.ptr);
    this.tls.gnutls_transport_set_pull_timeout_function(session, this.#wait.ptr);
  }

  /** The session's functions may be called from here to `end`. */
  begin(session: Pointer, arrived: Arrived): void {
    this.#session = session;
    this.#arrived = arrived;
    this.#used = 0;
  }

  /** Whether one more record can be written. */
  get hasRoom(): boolean {
    return this.#used + recordBytes + recordExtraBytes <= wireBytes;
  }

  /** Send what was written. */
  end(emit: Emit): void {
    this.#session = null;
    const count = this.#used;
    this.#used = 0;
    if (count > 0) emit(this.#bytes.subarray(0, count));
  }

  #write(from: Pointer, count: number): number {
    if (this.#used + count > wireBytes) return this.#refuse(ECONNABORTED);
    this.#memcpy((this.#address + this.#used) as Pointer, from, count);
    this.#used += count;
    return count;
  }

  #read(to: Pointer, wanted: number): number {
    const arrived = this.#arrived;
    const { at, bytes } = arrived;
    const count = Math.min(wanted, bytes.length - at);
    if (count === 0) return arrived.ended ? 0 : this.#refuse(EAGAIN);
    this.#memcpy(to, bytes.subarray(at, at + count), count);
    arrived.at = at + count;
    arrived.taken += count;
    return count;
  }

  #refuse(errno: number): -1 {
    if (this.#session !== null) this.tls.gnutls_transport_set_errno(this.#session, errno);
    return -1;
  }
}

let made: Wire | undefined;

export function wire(): Wire {
  return (made ??= new Wire(library()));
}
