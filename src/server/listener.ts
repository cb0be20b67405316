/** Accepts clients from listening sockets, and passes events of their sockets to the connections. */
import { closeSync } from "node:fs";

import { log } from "../lib/log.ts";
import { listenLong } from "../sys/listening.ts";
import { duplicate } from "../sys/process.ts";
import { protectDescriptor } from "../sys/protected-descriptors.ts";
import { keepAlive, peerCredentials, peerName, receiveNow, setSendBuffer } from "../sys/socket.ts";
import type { ClientSocket } from "./client-socket.ts";
import type { Connection } from "./connection.ts";
import { isAmongLast } from "./descriptors.ts";
import { fileReplies } from "./file-replies.ts";
import { forgetHangup, watchHangup } from "./hangups.ts";
import { unixSendBytes } from "./limits.ts";
import type { Listening } from "./sockets.ts";

export type Accept = (socket: ClientSocket) => Connection;

export interface Listener {
  /** Accept no more clients. As with nbdkit, the path of a Unix socket stays. */
  stop(): void;
  /** Leave new clients in the kernel's queue until `resume`. */
  pause(): void;
  resume(): void;
}

/** Calls that a listener makes. */
export interface Hooks {
  readonly accept: Accept;
  /** A new client has one of the last descriptors. */
  runsLow(): void;
  /** A client's descriptor is free again. */
  left(): void;
}

/** Create listeners, which accept clients after `resume`. `keepalive` makes TCP detect dead clients. */
export function listenersOn(
  { kind, fds }: Listening,
  keepalive: boolean,
  hooks: Hooks,
): Listener[] {
  const tune = (socket: Bun.Socket<Connection>): void => {
    if (kind === "unix") setSendBuffer(fdOf(socket), unixSendBytes);
    if (kind !== "tcp") return;
    socket.setNoDelay(true);
    if (keepalive) keepAlive(fdOf(socket));
  };
  return fds.map((fd) => new SocketListener(fd, handlers(hooks, tune)));
}

/** Bun cannot pause a listener, but it can close one while another descriptor keeps the socket open. */
class SocketListener implements Listener {
  readonly #handlers: Bun.SocketHandler<Connection>;
  #fd: number;
  #running: Bun.SocketListener<Connection> | undefined;

  constructor(fd: number, clientHandlers: Bun.SocketHandler<Connection>) {
    this.#fd = fd;
    this.#handlers = clientHandlers;
    protectDescriptor(fd);
  }

  resume(): void {
    if (this.#running !== undefined) return;
    this.#running = Bun.listen<Connection>(adopting(this.#fd, this.#handlers));
    listenLong(this.#fd);
  }

  pause(): void {
    if (this.#running === undefined) return;
    const kept = duplicate(this.#fd);
    protectDescriptor(kept);
    this.#running.stop(false);
    this.#running = undefined;
    this.#fd = kept;
  }

  stop(): void {
    if (this.#running === undefined) closeSync(this.#fd);
    else this.#running.stop(false);
  }
}

/** Serve a socket that is already connected. */
export async function adoptConnected(fd: number, accept: Accept): Promise<void> {
  await Bun.connect<Connection>(
    adopting(
      fd,
      handlers({ accept, runsLow: () => {}, left: () => {} }, () => {}),
    ),
  );
}

/** Bun accepts a descriptor in place of an address, but its types do not say so. */
function adopting(
  fd: number,
  socket: Bun.SocketHandler<Connection>,
): Bun.UnixSocketOptions<Connection> {
  const options: Partial<Bun.UnixSocketOptions<Connection>> & { readonly fd: number } = {
    fd,
    socket,
    allowHalfOpen: true,
  };
  return options as Bun.UnixSocketOptions<Connection>;
}

/** Sockets have `fd` at run time, but Bun's types do not say so. */
function fdOf(socket: Bun.Socket<Connection>): number {
  return "fd" in socket && typeof socket.fd === "number" ? socket.fd : -1;
}

function handlers(
  { accept, runsLow, left }: Hooks,
  tune: (socket: Bun.Socket<Connection>) => void,
): Bun.SocketHandler<Connection> {
  return {
    open(socket) {
      tune(socket);
      const fd = fdOf(socket);
      protectDescriptor(fd);
      const write: ClientSocket["write"] = (bytes, start, length) =>
        socket.write(bytes, start, length);
      socket.data = accept({
        client: { peerName: peerName(fd), peer: peerCredentials(fd) },
        write,
        fileReply: fileReplies(fd, write),
        receive: (into) => receiveNow(fdOf(socket), into),
        pause() {
          socket.pause();
          watchHangup(socket, fd, () => socket.data.left());
        },
        resume() {
          forgetHangup(socket);
          socket.resume();
        },
        end: () => socket.end(),
        terminate: () => socket.terminate(),
      });
      if (isAmongLast(fd)) runsLow();
    },
    data: (socket, chunk) => socket.data.data(chunk),
    drain: (socket) => socket.data.drained(),
    end: (socket) => socket.data.inputEnded(),
    close(socket) {
      forgetHangup(socket);
      // There is no connection if `accept` threw.
      const connection: Connection | undefined = socket.data;
      connection?.gone();
      left();
    },
    error(socket, error) {
      // An exception in a handler is a bug in the server, and leaves the connection in an unknown state.
      log.error(`connection: ${error.stack ?? error.message}`);
      socket.terminate();
    },
  };
}
