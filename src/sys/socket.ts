/** Functions that Bun's sockets lack: the client's address and process in C's form, and options of the socket. */
import { callsOf } from "./call.ts";
import {
  MSG_DONTWAIT,
  POLLERR,
  POLLHUP,
  POLLRDHUP,
  sizeOf,
  SO_KEEPALIVE,
  SO_PEERCRED,
  SO_SNDBUF,
  SOL_SOCKET,
} from "./generated/libc.gen.ts";
import { poll } from "./poll.ts";

/** A process on this machine. */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

const libc = callsOf("getpeername", "getsockopt", "recv", "setsockopt");

/** Request a send buffer of this size: SO_SNDBUF of socket(7). Errors are ignored, since only speed depends on it. */
export function setSendBuffer(fd: number, bytes: number): void {
  calls()?.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, new Int32Array([bytes]), 4);
}

/** Let the kernel detect clients that vanish without closing the connection: SO_KEEPALIVE of socket(7). */
export function keepAlive(fd: number): void {
  calls()?.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, new Int32Array([1]), 4);
}

/** The client's address as a struct sockaddr, or undefined if the kernel does not report it. */
export function peerName(fd: number): Uint8Array | undefined {
  const address = new Uint8Array(sizeOf.sockaddr_storage);
  const length = new Uint32Array([sizeOf.sockaddr_storage]);
  if (calls()?.getpeername(fd, address, length) !== 0) return undefined;
  return address.slice(0, length[0]);
}

/** The process at the other end of a Unix socket. */
export function peerCredentials(fd: number): Peer | undefined {
  const numbers = new Int32Array(sizeOf.ucred / Int32Array.BYTES_PER_ELEMENT);
  const length = new Uint32Array([numbers.byteLength]);
  if (calls()?.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, numbers, length) !== 0) return undefined;
  const [pid = 0, uid = 0, gid = 0] = numbers;
  // For other sockets the kernel reports pid 0.
  return pid > 0 ? { pid, uid: uid >>> 0, gid: gid >>> 0 } : undefined;
}

/** The descriptors whose other end sends no more, even if received data is still unread. Never waits. */
export function hungUp(fds: readonly number[]): readonly number[] {
  if (fds.length === 0 || calls() === undefined) return [];
  const events = poll(fds, POLLRDHUP, 0) ?? [];
  return fds.filter((_, i) => ((events[i] ?? 0) & (POLLERR | POLLHUP | POLLRDHUP)) !== 0);
}

/**
 * Receive the data that has arrived, as much as fits. Returns the number of bytes: 0 if no data has arrived, at the end
 * of the stream and on errors. Bun detects the last two as well.
 */
export function receiveNow(fd: number, into: Uint8Array): number {
  return Math.max(0, Number(calls()?.recv(fd, into, into.length, MSG_DONTWAIT) ?? 0));
}

function calls(): ReturnType<typeof libc> | undefined {
  try {
    return libc();
  } catch {
    // Sockets also work without libc.
    return undefined;
  }
}
