/** The transport that GnuTLS uses in place of a socket: callbacks that read and write memory. */
import { JSCallback, type Pointer, ptr } from "bun:ffi";

import { errnos } from "../../lib/errno.ts";
import { freeUsedUp } from "../../lib/used-up.ts";
import { fixed } from "../call.ts";
import { callbacks } from "../generated/gnutls.gen.ts";
import { encryptedBytes } from "../limits.ts";
import { type Library, library } from "./library.ts";
import { logFor } from "./log.ts";

/**
 * Sends bytes to the client. If it returns true, it keeps the bytes' memory, and passes it to `reuse` later; otherwise
 * the bytes are only valid during the call.
 */
export type Emit = (bytes: Uint8Array) => boolean;

/** The longest content of a TLS record, and the most bytes that the protocol adds to it. */
export const fullRecordBytes = 16 << 10;
const recordExtraBytes = 1 << 10;
/** The offset of a record's length, which has two bytes. */
const recordLengthAt = 3;

const nothing = new Uint8Array(0);

/** The bytes from one client that are not yet decrypted, in memory that does not move. */
export class ReceivedBytes {
  /** The client sends no more. */
  ended = false;
  #bytes: Uint8Array = nothing;
  #address = 0;
  #at = 0;
  /** Whether no other code uses the memory. */
  #own = false;

  get length(): number {
    return this.#bytes.length - this.#at;
  }

  /** The length of the next record, by its header, if a record begins here; 0 if the header has not arrived. */
  get recordBytes(): number {
    const at = this.#at + recordLengthAt;
    return ((this.#bytes[at] ?? 0) << 8) | (this.#bytes[at + 1] ?? 0);
  }

  /** Append bytes. With `own` no other code uses their memory. */
  add(chunk: Uint8Array, own: boolean): void {
    const rest = this.#bytes.subarray(this.#at);
    this.#bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    this.#own = own || rest.length > 0;
    // Reading `buffer` fixes the address of a small array.
    void this.#bytes.buffer;
    this.#address = this.#bytes.length === 0 ? 0 : ptr(this.#bytes);
    this.#at = 0;
  }

  /** The address of the next `count` bytes, which are valid until the next call of a method. */
  take(count: number): Pointer {
    const address = this.#address + this.#at;
    this.#at += count;
    return address as Pointer;
  }

  /** Free the memory if all bytes have been taken. */
  clean(): void {
    if (this.length > 0) return;
    if (this.#own) freeUsedUp(this.#bytes);
    this.#own = false;
    this.#bytes = nothing;
    this.#at = 0;
  }
}

/** One for all sessions, since only one session runs at a time. */
class Wire {
  readonly tls: Library["tls"];
  readonly #memcpy: Library["c"]["memcpy"];
  #bytes = fixed(Uint8Array, encryptedBytes);
  #address = ptr(this.#bytes);
  #spare: ArrayBuffer | undefined;
  #used = 0;
  #session: Pointer | null = null;
  #received = new ReceivedBytes();
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
    // Otherwise GnuTLS would poll a socket.
    this.#wait = new JSCallback(() => 1, callbacks.pull_timeout);
  }

  /** Make a new session use this transport. */
  attach(session: Pointer): void {
    this.tls.gnutls_transport_set_push_function(session, this.#push.ptr);
    this.tls.gnutls_transport_set_pull_function(session, this.#pull.ptr);
    this.tls.gnutls_transport_set_pull_timeout_function(session, this.#wait.ptr);
  }

  /** Between this call and `end`, the session's functions may be called. */
  begin(session: Pointer, received: ReceivedBytes, logName: Uint8Array): void {
    logFor(logName);
    this.#session = session;
    this.#received = received;
    this.#used = 0;
  }

  /** Whether one more record can be written. */
  get hasRoom(): boolean {
    return this.#used + fullRecordBytes + recordExtraBytes <= encryptedBytes;
  }

  /** Send the bytes that were written. */
  end(emit: Emit): void {
    logFor(null);
    this.#session = null;
    this.#received.clean();
    const count = this.#used;
    this.#used = 0;
    if (count === 0 || !emit(this.#bytes.subarray(0, count))) return;
    this.#bytes = new Uint8Array(this.#spare ?? new ArrayBuffer(encryptedBytes));
    this.#address = ptr(this.#bytes);
    this.#spare = undefined;
  }

  reuse({ buffer }: Uint8Array): void {
    if (buffer instanceof ArrayBuffer && buffer.byteLength === encryptedBytes) this.#spare = buffer;
  }

  #write(from: Pointer, count: number): number {
    if (this.#used + count > encryptedBytes) return this.#refuse(errnos.ECONNABORTED);
    this.#memcpy((this.#address + this.#used) as Pointer, from, count);
    this.#used += count;
    return count;
  }

  #read(to: Pointer, wanted: number): number {
    const received = this.#received;
    const count = Math.min(wanted, received.length);
    if (count === 0) return received.ended ? 0 : this.#refuse(errnos.EAGAIN);
    this.#memcpy(to, received.take(count), count);
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

/** Take back memory that `emit` has kept. */
export function reuse(bytes: Uint8Array): void {
  made?.reuse(bytes);
}
