/** A client's socket, which switches to TLS when the client requests it. */
import { log } from "../lib/log.ts";
import type { Lifecycle } from "../protocol/lifecycle.ts";
import { failure } from "../protocol/wire-error.ts";
import type { TlsNames, TlsOperations } from "../sys/tls/session.ts";
import { type Emit, reuse } from "../sys/tls/wire.ts";
import type { ClientSocket } from "./client-socket.ts";
import {
  tlsHandshakeBytes,
  tlsKeptFromBytes,
  tlsPendingBytes,
  tlsReceivedAtOnce,
} from "./limits.ts";

/** Gets the events of the connection, and its input in clear text. */
export interface Receiver {
  received(chunk: Uint8Array): void;
  /** Where to put the next bytes instead of calling `received`. */
  room(): Uint8Array | undefined;
  /** `count` bytes were put into `room`. */
  filled(count: number): void;
  /** The client's socket takes output again. */
  drained(): void;
}

/** Creates sessions, and limits the time of their handshake. */
export interface TlsOffer {
  readonly handshakeMs: number;
  newSession(emit: Emit, logName: string): TlsOperations;
}

const nothing = new Uint8Array(0);
/** Temporary memory for decrypted data that has no `room`. */
const scratch = new Uint8Array(new ArrayBuffer(64 << 10));
/** Memory for encrypted input while the data of a write is incomplete. */
const incoming = new Uint8Array(new ArrayBuffer(256 << 10));

/**
 * The state of the TLS session: "half-closed" after the client's close_notify or the end of its stream, "closed" after
 * the server's close_notify.
 */
type State = "plain" | "handshake" | "secure" | "half-closed" | "closed";

export class TlsTransport implements ClientSocket, Disposable {
  readonly client: ClientSocket["client"];
  readonly #socket: ClientSocket;
  readonly #receiver: Receiver;
  readonly #lifecycle: Lifecycle;
  readonly #logName: string;
  #session: TlsOperations | undefined;
  #state: State = "plain";
  /** Encrypted output that the kernel has not taken. */
  #pending: Uint8Array = nothing;
  #handshakeBytes = 0;
  #settle: (secure: boolean) => void = () => {};

  constructor(socket: ClientSocket, receiver: Receiver, lifecycle: Lifecycle, logName: string) {
    this.client = socket.client;
    this.#socket = socket;
    this.#receiver = receiver;
    this.#lifecycle = lifecycle;
    this.#logName = logName;
  }

  /**
   * Begin the handshake. `arrived` is its first input, since the client must not send commands in clear text any more.
   * Resolves to whether the connection is secure; if not, it is lost. Never rejects.
   */
  async start(offer: TlsOffer, arrived: readonly Uint8Array[]): Promise<boolean> {
    if (this.#state !== "plain") return false;
    log.debug("starting TLS handshake", this.#logName);
    const settled = Promise.withResolvers<boolean>();
    this.#settle = settled.resolve;
    const limit = setTimeout(() => {
      this.#fail(`client spent more than ${offer.handshakeMs / 1000} s on the TLS handshake`);
    }, offer.handshakeMs);
    try {
      this.#session = offer.newSession(this.#emit, this.#logName);
      this.#state = "handshake";
      this.#handshake(this.#session, Buffer.concat(arrived));
      return await settled.promise;
    } catch (error) {
      this.#fail(failure(error).message);
      return false;
    } finally {
      clearTimeout(limit);
    }
  }

  /** The names in the client's certificate, if it sent one. */
  names(): TlsNames | undefined {
    return this.#session?.names();
  }

  /** Bytes of encrypted output that the kernel has not taken. */
  get held(): number {
    return this.#writes ? this.#pending.length : 0;
  }

  get unwritten(): number {
    return this.#socket.unwritten ?? 0;
  }

  /** Bytes of memory that the transport holds for its client. */
  get heldBytes(): number {
    return this.#pending.buffer.byteLength + (this.#session?.unread ?? 0);
  }

  get #writes(): boolean {
    return this.#lifecycle.phase.writes;
  }

  // ---- what the socket says

  data(chunk: Uint8Array): void {
    const session = this.#session;
    if (this.#state === "plain" || session === undefined) {
      this.#receiver.received(chunk);
    } else if (this.#state === "handshake") {
      if (this.#lifecycle.phase.listens) this.#handshake(session, chunk);
    } else if (this.#takesInput) {
      session.push(chunk, true);
      this.#deliver(session);
    }
  }

  drained(): void {
    const pending = this.#pending;
    if (pending.length > 0) {
      this.#pending = this.#writes ? this.#send(pending) : nothing;
      if (this.#pending.length === 0) reuse(pending);
    }
    if (this.#pending.length === 0) this.#receiver.drained();
  }

  /** The socket delivers no more. With TLS, the session reports the end, behind all data that has arrived. */
  inputEnded(): void {
    const session = this.#session;
    session?.endInput();
    this.#failIfHandshaking();
    if (session === undefined || this.#state === "handshake") this.#lifecycle.raise("halfClosed");
    else this.#deliver(session);
  }

  gone(): void {
    this.#failIfHandshaking();
    this.#lifecycle.raise("closed");
  }

  /** The connection's phase has changed. */
  wake(): void {
    if (!this.#lifecycle.phase.listens) this.#settle(false);
  }

  // ---- what the connection says

  write(bytes: Uint8Array, start: number, length: number): number {
    const session = this.#session;
    if (session === undefined) return this.#socket.write(bytes, start, length);
    let taken = 0;
    try {
      while (taken < length && this.#pending.length === 0 && this.#writes) {
        taken += session.write(bytes, start + taken, length - taken);
      }
    } catch (error) {
      log.error(failure(error).message, this.#logName);
      this.#lifecycle.raise("lost");
    }
    return this.#writes ? taken : -1;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Send a close_notify, so that the client can tell an orderly end from a broken connection. */
  endTls(): void {
    if (this.#session === undefined || !this.#writes) return;
    if (this.#state !== "secure" && this.#state !== "half-closed") return;
    this.#state = "closed";
    this.#session.close();
  }

  receive(into: Uint8Array): number {
    return this.#writes ? this.#socket.receive(into) : 0;
  }

  end(): void {
    this.#socket.end();
  }

  terminate(): void {
    this.#socket.terminate();
  }

  [Symbol.dispose](): void {
    this.#pending = nothing;
    this.#session?.[Symbol.dispose]();
  }

  // ---- TLS

  readonly #emit = (bytes: Uint8Array): boolean => {
    if (!this.#writes) return false;
    if (this.#pending.length > 0) {
      this.#pending = Buffer.concat([this.#pending, bytes]);
      if (this.#pending.length > tlsPendingBytes) this.#lifecycle.raise("lost");
      return false;
    }
    const rest = this.#send(bytes);
    // A small rest is copied, so that a client that takes no output does not hold a large buffer.
    const isMuch = rest.length >= tlsKeptFromBytes;
    this.#pending = isMuch ? rest : rest.slice();
    return isMuch;
  };

  /** Returns what the kernel did not take. */
  #send(bytes: Uint8Array): Uint8Array {
    const taken = this.#socket.write(bytes, 0, bytes.length);
    if (taken < 0) this.#lifecycle.raise("lost");
    return taken < 0 || taken === bytes.length ? nothing : bytes.subarray(taken);
  }

  #handshake(session: TlsOperations, chunk: Uint8Array): void {
    this.#handshakeBytes += chunk.length;
    session.push(chunk, true);
    try {
      if (!session.handshake()) {
        if (this.#handshakeBytes <= tlsHandshakeBytes) return;
        this.#fail(`client sent more than ${tlsHandshakeBytes} bytes for the TLS handshake`);
        return;
      }
    } catch (error) {
      session.alert();
      this.#fail(failure(error).message);
      return;
    }
    this.#state = "secure";
    if (log.verbose) {
      log.debug(`TLS handshake complete: ${session.describe()}`, this.#logName);
      const details = log.tlsSession ? session.details() : [];
      for (const line of details) log.debug(line, this.#logName);
    }
    this.#settle(true);
    this.#deliver(session);
  }

  /** The handshake has failed: end the connection. */
  #fail(message: string): void {
    if (!this.#lifecycle.phase.listens) return;
    log.error(message, this.#logName);
    this.#lifecycle.raise("done");
  }

  #failIfHandshaking(): void {
    if (this.#state === "handshake") this.#fail("client left in the middle of the TLS handshake");
  }

  /** Whether input still counts: data after the client's close_notify is not from the client. */
  get #takesInput(): boolean {
    return this.#state === "secure" && this.#writes;
  }

  #halfClosed(): void {
    this.#state = "half-closed";
    this.#lifecycle.raise("halfClosed");
  }

  /** Pass on decrypted data. Its chunk has been accepted, so there is no check for pausing in between. */
  #deliver(session: TlsOperations): void {
    let left = tlsReceivedAtOnce;
    while (this.#takesInput) {
      const room = this.#receiver.room();
      let count;
      try {
        count = room === undefined ? session.read(scratch, true) : session.read(room);
      } catch (error) {
        this.#broken(session, failure(error).message);
        return;
      }
      if (count === "wait") {
        const more = room === undefined || left <= 0 ? 0 : this.receive(incoming);
        if (more === 0) return;
        left -= more;
        session.push(incoming.subarray(0, more), false);
        continue;
      }
      if (count === "end") return this.#halfClosed();
      if (room === undefined) this.#receiver.received(copyOf(scratch.subarray(0, count)));
      else this.#receiver.filled(count);
    }
  }

  /** The input was changed or cut off on its way. */
  #broken(session: TlsOperations, message: string): void {
    if (session.endedEarly) {
      log.debug("client left without ending TLS", this.#logName);
      return this.#halfClosed();
    }
    log.error(message, this.#logName);
    session.alert();
    this.#lifecycle.raise("lost");
  }
}

/** Copy into memory that does not move, which layers need. */
function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new ArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}
