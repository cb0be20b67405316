/** What C knows of a client's connection: the owner of a struct rt_connection. */
import { type Pointer } from "bun:ffi";

import { NbdError } from "#api";
import type { ConnectionInfo } from "#chain/layer";

import type { CallQueue } from "./call-queue.ts";
import type { Native } from "./native-runtime.ts";

const known = new WeakMap<ConnectionInfo, NativeConnection>();

export class NativeConnection {
  /** The struct's address, for the messages of calls. */
  readonly pointer: number;
  /** What log lines about the connection start with. */
  readonly logName: string;
  /** Where its calls wait for a native thread; made by the bridge with the first one. */
  queue: CallQueue | undefined;
  readonly #native: Native;
  readonly #info: ConnectionInfo;
  #users = 0;

  /** The one of `info`, to be released by the caller. */
  static of(native: Native, info: ConnectionInfo): NativeConnection {
    let connection = known.get(info);
    if (connection === undefined) {
      known.set(info, (connection = new NativeConnection(native, info)));
    }
    connection.#users++;
    return connection;
  }

  private constructor(native: Native, info: ConnectionInfo) {
    const pointer = native.rt_connection_new(info.logName);
    if (pointer === null) throw new NbdError("ENOMEM", "no memory for a connection");
    this.pointer = Number(pointer);
    this.logName = info.logName;
    this.#native = native;
    this.#info = info;
  }

  /** To be called once by each user, when no callback runs for it any more. */
  release(): void {
    if (--this.#users > 0) return;
    known.delete(this.#info);
    this.queue?.release();
    this.#native.rt_connection_free(this.pointer as Pointer);
  }
}
