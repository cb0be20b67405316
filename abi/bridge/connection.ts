/** A client's connection for C: owns a struct rt_connection. */
import { type Pointer } from "bun:ffi";

import { NbdError } from "#api";
import type { ConnectionInfo } from "#chain/layer";
import { cString } from "#sys/text";

import { readDisconnect } from "../generated/messages.gen.ts";
import type { Native } from "../runtime/native-runtime.ts";
import type { CallQueue } from "./call-queue.ts";
import type { RequestThread } from "./request-thread.ts";
import type { Message } from "./upcall.ts";

const byPointer = new Map<number, NativeConnection>();
const byInfo = new WeakMap<ConnectionInfo, NativeConnection>();

/** What a connection needs of the bridge. */
export interface ConnectionBridge {
  readonly native: Native;
  /** An nxdata through which C calls `handler`. */
  newUpcallHandler(handler: (message: Message) => void): {
    readonly nxdata: number;
    free(): void;
  };
  newString(text: string): { readonly pointer: number; release(): void };
  returnThread(thread: RequestThread): void;
}

/**
 * One exists for each connection that C is called for. It lives until the connection has ended, even without users,
 * since strings that C has interned for the client must last as long.
 */
export class NativeConnection {
  /** The struct's address, for the messages of calls. */
  readonly pointer: number;
  /** The prefix of log lines about the connection. */
  readonly logName: string;
  /** Its calls that wait for a native thread. The bridge makes the queue for the first call. */
  queue: CallQueue | undefined;
  /** The thread that runs only its callbacks; null for none, undefined before the first call. */
  thread: RequestThread | null | undefined;
  /** The strings that C has got, by their text. */
  readonly #strings = new Map<string, { readonly pointer: number; release(): void }>();
  readonly #bridge: ConnectionBridge;
  readonly #info: ConnectionInfo;
  readonly #control: { free(): void } | undefined;
  #exportName: string | undefined;
  #isTls = false;
  #users = 0;

  /** The connection of `info`. The caller has to release it. */
  static of(bridge: ConnectionBridge, info: ConnectionInfo): NativeConnection {
    let connection = byInfo.get(info);
    if (connection === undefined) {
      byInfo.set(info, (connection = new NativeConnection(bridge, info)));
    }
    connection.update();
    connection.#users++;
    return connection;
  }

  private constructor(bridge: ConnectionBridge, info: ConnectionInfo) {
    const { native } = bridge;
    const pointer = native.rt_connection_new(info.logName);
    if (pointer === null) throw new NbdError("ENOMEM", "no memory for a connection");
    this.pointer = Number(pointer);
    byPointer.set(this.pointer, this);
    this.logName = info.logName;
    this.#bridge = bridge;
    this.#info = info;
    const { peer, peerName } = info;
    if (peerName !== undefined && peerName.length > 0) {
      native.rt_connection_set_peer(pointer, peerName, peerName.length);
    }
    if (peer !== undefined) {
      native.rt_connection_set_process(pointer, peer.pid, peer.uid, peer.gid);
    }
    if (info.id === 0) {
      native.rt_connection_share(pointer);
    } else {
      // nbdkit_disconnect is an upcall to this handler.
      const control = bridge.newUpcallHandler((message) =>
        info.disconnect(message.read(readDisconnect).force),
      );
      native.rt_connection_set_control(pointer, control.nxdata as Pointer);
      this.#control = control;
    }
    if (info.ended.aborted) native.rt_connection_end(pointer);
    else info.ended.addEventListener("abort", this.#end, { once: true });
  }

  /** The connection whose struct is at `pointer`, if any. */
  static at(pointer: number): NativeConnection | undefined {
    return byPointer.get(pointer);
  }

  get info(): ConnectionInfo {
    return this.#info;
  }

  /** Copy the export name and the use of TLS to C: the client chooses them during the handshake. */
  update(): void {
    const { exportName, isTls, tlsNames } = this.#info;
    const { native } = this.#bridge;
    if (isTls !== this.#isTls) {
      this.#isTls = isTls;
      native.rt_connection_set_tls(this.pointer as Pointer, isTls ? 1 : 0);
      if (tlsNames !== undefined) this.#setTlsNames(tlsNames.dn, tlsNames.issuerDn);
    }
    if (exportName !== undefined && exportName !== this.#exportName) {
      this.#exportName = exportName;
      if (
        native.rt_connection_set_export_name(this.pointer as Pointer, cString(exportName)) !== 0
      ) {
        throw new NbdError("ENOMEM", "no memory for a string");
      }
    }
  }

  #setTlsNames(dn: string, issuerDn: string): void {
    const { native } = this.#bridge;
    const pointer = this.pointer as Pointer;
    if (native.rt_connection_set_tls_names(pointer, cString(dn), cString(issuerDn)) !== 0) {
      throw new NbdError("ENOMEM", "no memory for a string");
    }
  }

  /** A C string that stays as long as the connection; 0 for undefined. */
  intern(text: string | undefined): number {
    if (text === undefined) return 0;
    let string = this.#strings.get(text);
    if (string === undefined) this.#strings.set(text, (string = this.#bridge.newString(text)));
    return string.pointer;
  }

  /** Each user calls this once, when none of its callbacks runs any more. */
  release(): void {
    this.#users--;
    this.#freeIfOver();
  }

  readonly #end = (): void => {
    this.#bridge.native.rt_connection_end(this.pointer as Pointer);
    this.#freeIfOver();
  };

  #freeIfOver(): void {
    // Strings that are interned for no client are never freed.
    const isOver = this.#info.ended.aborted || this.#info.id === 0;
    if (this.#users > 0 || !isOver) return;
    byInfo.delete(this.#info);
    byPointer.delete(this.pointer);
    this.queue?.release();
    if (this.thread) this.#bridge.returnThread(this.thread);
    for (const string of this.#strings.values()) string.release();
    this.#control?.free();
    this.#info.ended.removeEventListener("abort", this.#end);
    this.#bridge.native.rt_connection_free(this.pointer as Pointer);
  }
}
