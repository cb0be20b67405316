/** What GnuTLS takes for a connection: memory that it reads from and writes to, through functions that it calls. */
import { JSCallback, type Pointer, ptr } from "bun:ffi";

import { errnos } from "../../lib/errno.ts";
import { freeUsedUp } from "../../lib/used-up.ts";
import { fixed } from "../call.ts";
import { callbacks } from "../generated/gnutls.gen.ts";
import { type Library, library } from "./library.ts";
import { logFor } from "./log.ts";

/**
 * Sends bytes to the client. They are valid during the call only, unless it returns true: then their memory is its own,
 * until it is given to `reuse`.
 */
export type Emit = (bytes: Uint8Array) => boolean;

/** The most that a record of TLS carries, and what the protocol may add to it. */
const recordBytes = 16 << 10;
const recordExtraBytes = 1 << 10;
/** Where a record tells its length, of two bytes. */
const recordLengthAt = 3;
/** So much is encrypted before it is sent. The first flight of a handshake has to fit, too. */
const wireBytes = 288 << 10;
/** How much of such memory is kept for later. */
const mostSpare = 8;

const nothing = new Uint8Array(0);

/** What came from one client and was not decrypted: bytes in memory that does not move. */
export class Arrived {
  /** No more will come. */
  ended = false;
  #bytes: Uint8Array = nothing;
  #address = 0;
  #at = 0;
  /** No other code uses the memory. */
  #own = false;

  get length(): number {
    return this.#bytes.length - this.#at;
  }

  /** How long the record that begins here says it is, if it does begin here; 0 where that has not come yet. */
  get recordBytes(): number {
    const at = this.#at + recordLengthAt;
    return ((this.#bytes[at] ?? 0) << 8) | (this.#bytes[at + 1] ?? 0);
  }

  /** More bytes; `own`: no other code uses their memory. */
  add(chunk: Uint8Array, own: boolean): void {
    const rest = this.#bytes.subarray(this.#at);
    this.#bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    this.#own = own || rest.length > 0;
    // Small arrays lie in the collector's heap until this is asked for.
    void this.#bytes.buffer;
    this.#address = this.#bytes.length === 0 ? 0 : ptr(this.#bytes);
    this.#at = 0;
  }

  /** The address of the next bytes, which the caller is done with before anything else is done here. */
  take(count: number): Pointer {
    const address = this.#address + this.#at;
    this.#at += count;
    return address as Pointer;
  }

  /** Whatever was taken is needed no more. */
  clean(): void {
    if (this.length > 0) return;
    if (this.#own) freeUsedUp(this.#bytes);
    this.#own = false;
    this.#bytes = nothing;
    this.#at = 0;
  }
}

/** One for all sessions: none of them runs while another one does. */
class Wire {
  readonly tls: Library["tls"];
  readonly #memcpy: Library["c"]["memcpy"];
  #bytes = fixed(Uint8Array, wireBytes);
  #address = ptr(this.#bytes);
  readonly #spare: ArrayBuffer[] = [];
  #used = 0;
  #session: Pointer | null = null;
  #arrived = new Arrived();
  readonly #push: JSCallback;
  readonly #pull: JSCallback;
  readonly #wait: JSCallback;

  constructor({ tls, c }: Library) {
    this.tls = tls;
    this.#memcpy = c.memcpy;
    this.#push = new JSCallback(
      (_session: Pointer, from: Pointer, count: number) => this.#write(from, count),
      callbacks.push,
    );
    this.#pull = new JSCallback(
      (_session: Pointer, to: Pointer, count: number) => this.#read(to, count),
      callbacks.pull,
    );
    // GnuTLS would look at a socket otherwise.
    this.#wait = new JSCallback(() => 1, callbacks.pull_timeout);
  }

  /** Make a new session use it. */
  attach(session: Pointer): void {
    this.tls.gnutls_transport_set_push_function(session, this.#push.ptr);
    this.tls.gnutls_transport_set_pull_function(session, this.#pull.ptr);
    this.tls.gnutls_transport_set_pull_timeout_function(session, this.#wait.ptr);
  }

  /** The session's functions may be called from here to `end`. */
  begin(session: Pointer, arrived: Arrived, logName: Uint8Array): void {
    logFor(logName);
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
    logFor(null);
    this.#session = null;
    this.#arrived.clean();
    const count = this.#used;
    this.#used = 0;
    if (count === 0 || !emit(this.#bytes.subarray(0, count))) return;
    this.#bytes = new Uint8Array(this.#spare.pop() ?? new ArrayBuffer(wireBytes));
    this.#address = ptr(this.#bytes);
  }

  reuse({ buffer }: Uint8Array): void {
    if (!(buffer instanceof ArrayBuffer) || buffer.byteLength !== wireBytes) return;
    if (this.#spare.length < mostSpare) this.#spare.push(buffer);
  }

  #write(from: Pointer, count: number): number {
    if (this.#used + count > wireBytes) return this.#refuse(errnos.ECONNABORTED);
    this.#memcpy((this.#address + this.#used) as Pointer, from, count);
    this.#used += count;
    return count;
  }

  #read(to: Pointer, wanted: number): number {
    const arrived = this.#arrived;
    const count = Math.min(wanted, arrived.length);
    if (count === 0) return arrived.ended ? 0 : this.#refuse(errnos.EAGAIN);
    this.#memcpy(to, arrived.take(count), count);
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

/** Memory that `emit` has kept is needed no more. */
export function reuse(bytes: Uint8Array): void {
  made?.reuse(bytes);
}
