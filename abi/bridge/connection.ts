/** What C knows of a client's connection: the owner of a struct rt_connection. */
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
const known = new WeakMap<ConnectionInfo, NativeConnection>();

/** What a connection needs of the bridge. */
export interface ConnectionBridge {
  readonly native: Native;
  /** A struct through which C calls `upcalled`. */
  newTarget(upcalled: (message: Message) => void): {
    readonly nxdata: number;
    free(): void;
  };
  newString(text: string): { readonly pointer: number; release(): void };
  giveBack(thread: RequestThread): void;
}

/**
 * One for each connection that C is called for. It outlasts its users until the connection has ended, because strings
 * that C interned for the client have to.
 */
export class NativeConnection {
  /** The struct's address, for the messages of calls. */
  readonly pointer: number;
  /** What log lines about the connection start with. */
  readonly logName: string;
  /** Where its calls wait for a native thread; made by the bridge with the first one. */
  queue: CallQueue | undefined;
  /** The thread that runs nothing but its callbacks, where it has one. */
  thread: RequestThread | null | undefined;
  /** Strings that C was given, by their text. */
  readonly #strings = new Map<string, { readonly pointer: number; release(): void }>();
  readonly #bridge: ConnectionBridge;
  readonly #info: ConnectionInfo;
  readonly #control: { free(): void } | undefined;
  #exportName: string | undefined;
  #isTls = false;
  #users = 0;

  /** The one of `info`, to be released by the caller. */
  static of(bridge: ConnectionBridge, info: ConnectionInfo): NativeConnection {
    let connection = known.get(info);
    if (connection === undefined) {
      known.set(info, (connection = new NativeConnection(bridge, info)));
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
      // nbdkit_disconnect is an upcall to here.
      const control = bridge.newTarget((message) =>
        info.disconnect(message.read(readDisconnect).force),
      );
      native.rt_connection_set_control(pointer, control.nxdata as Pointer);
      this.#control = control;
    }
    if (info.ended.aborted) native.rt_connection_end(pointer);
    else info.ended.addEventListener("abort", this.#end, { once: true });
  }

  /** The one whose struct is at `pointer`; undefined where there is none. */
  static at(pointer: number): NativeConnection | undefined {
    return byPointer.get(pointer);
  }

  get info(): ConnectionInfo {
    return this.#info;
  }

  /** Tell C the export and whether TLS is used: the client chooses them after the connection has begun. */
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

  /** To be called once by each user, when no callback runs for it any more. */
  release(): void {
    this.#users--;
    this.#freeIfOver();
  }

  readonly #end = (): void => {
    this.#bridge.native.rt_connection_end(this.pointer as Pointer);
    this.#freeIfOver();
  };

  #freeIfOver(): void {
    // What is interned for no client in particular stays anyway.
    const isOver = this.#info.ended.aborted || this.#info.id === 0;
    if (this.#users > 0 || !isOver) return;
    known.delete(this.#info);
    byPointer.delete(this.pointer);
    this.queue?.release();
    if (this.thread) this.#bridge.giveBack(this.thread);
    for (const string of this.#strings.values()) string.release();
    this.#control?.free();
    this.#info.ended.removeEventListener("abort", this.#end);
    this.#bridge.native.rt_connection_free(this.pointer as Pointer);
  }
}
