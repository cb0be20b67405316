/** Listens on a Unix socket or on TCP addresses, and hands what clients do to their connections. */

import { lookup } from "node:dns/promises";
import { lstatSync } from "node:fs";

import { peerCredentials, peerName, setSendBuffer } from "#abi/socket";

import { ConfigError } from "../api/errors.ts";
import { log } from "../lib/log.ts";
import type { ClientSocket, Connection } from "./connection.ts";

/** Where to listen. A TCP port of 0 lets the kernel choose. */
export type ListenTarget =
  { readonly unix: string } | { readonly port: number; readonly address?: string };

export interface Listener {
  readonly port: number | undefined;
  /** Accept no more. */
  stop(): void;
}

export type Accept = (socket: ClientSocket) => Connection;

/** sun_path has 108 bytes, the last of them zero. */
const maxPathBytes = 107;
/**
 * What the kernel takes for a client on a Unix socket. Its default is less than one reply of 256 KiB, so that
 * each would cost two writes and a wait in between. (TCP sizes its buffers itself.)
 */
const unixSendBytes = 256 << 10;
/** Reasons to do without one of several addresses. */
const skippable = new Set(["EADDRINUSE", "EAFNOSUPPORT", "EADDRNOTAVAIL"]);

export async function listen(target: ListenTarget, accept: Accept): Promise<Listener[]> {
  if ("unix" in target) return [listenUnix(target.unix, accept)];
  return listenTcp(target.port, target.address, accept);
}

function listenUnix(path: string, accept: Accept): Listener {
  const bytes = Buffer.byteLength(path);
  if (bytes > maxPathBytes) {
    throw new ConfigError(
      `${path}: the path of a Unix socket may have ${maxPathBytes} bytes, this one has ${bytes}`,
    );
  }
  if (exists(path)) {
    throw new ConfigError(`${path}: cannot listen on this path: it exists already`);
  }
  try {
    const listener = Bun.listen({
      unix: path,
      socket: handlers(accept, (socket) => setSendBuffer(fdOf(socket), unixSendBytes)),
      allowHalfOpen: true,
    });
    log.debug(`bound to unix socket ${path}`);
    return wrap(listener);
  } catch (error) {
    throw refused(path, error);
  }
}

function exists(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    throw refused(path, error);
  }
}

async function listenTcp(
  wanted: number,
  address: string | undefined,
  accept: Accept,
): Promise<Listener[]> {
  const listeners: Listener[] = [];
  let port = wanted;
  let failure: unknown;
  for (const hostname of await addresses(address)) {
    try {
      const options: Bun.TCPSocketListenOptions<Connection> & { readonly ipv6Only: boolean } = {
        hostname,
        port,
        // Otherwise the address of IPv6 would take that of IPv4 as well.
        ipv6Only: hostname.includes(":"),
        socket: handlers(accept, (socket) => socket.setNoDelay(true)),
        allowHalfOpen: true,
      };
      const listener = Bun.listen<Connection>(options);
      // All addresses share one port, also where the kernel chooses it.
      port = listener.port;
      listeners.push(wrap(listener, port));
    } catch (error) {
      failure ??= error;
      if (!skippable.has(codeOf(error))) break;
    }
  }
  const name = `${address ?? "*"}:${port}`;
  if (listeners.length === 0) throw refused(name, failure);
  log.debug(`bound to IP address ${name} (${listeners.length} socket(s))`);
  return listeners;
}

async function addresses(address: string | undefined): Promise<readonly string[]> {
  if (address === undefined) return ["0.0.0.0", "::"];
  try {
    const found = await lookup(address, { all: true });
    return [...new Set(found.map((one) => one.address))];
  } catch (error) {
    throw refused(address, error);
  }
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}

function refused(where: string, error: unknown): ConfigError {
  const reason = codeOf(error) || (error instanceof Error ? error.message : String(error));
  return new ConfigError(`${where}: cannot listen on this address: ${reason}`, { cause: error });
}

function wrap(listener: Bun.SocketListener<Connection>, port?: number): Listener {
  return { port, stop: () => listener.stop(false) };
}

/** At run time sockets have it, though Bun's types do not say so. */
function fdOf(socket: Bun.Socket<Connection>): number {
  return "fd" in socket && typeof socket.fd === "number" ? socket.fd : -1;
}

function handlers(
  accept: Accept,
  tune: (socket: Bun.Socket<Connection>) => void,
): Bun.SocketHandler<Connection> {
  return {
    open(socket) {
      tune(socket);
      const fd = fdOf(socket);
      socket.data = accept({
        client: { peerName: peerName(fd), peer: peerCredentials(fd) },
        write: (bytes, start, length) => socket.write(bytes, start, length),
        pause: () => socket.pause(),
        resume: () => socket.resume(),
        end: () => socket.end(),
        terminate: () => socket.terminate(),
      });
    },
    data: (socket, chunk) => socket.data.data(chunk),
    drain: (socket) => socket.data.drained(),
    end: (socket) => socket.data.inputEnded(),
    close: (socket) => socket.data.gone(),
    error(socket, error) {
      // Whatever throws in a handler is our fault: the connection is in no state to go on.
      log.error(`connection: ${error.stack ?? error.message}`);
      socket.terminate();
    },
  };
}
