/** What Bun's sockets do not do: say who the client is as C wants it, and set how much the kernel keeps for it. */
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

/**
 * Ask for a send buffer of so many bytes: SO_SNDBUF of socket(7). The kernel may give more or less, and -1 for
 * a descriptor is ignored: nothing but speed depends on it.
 */
export function setSendBuffer(fd: number, bytes: number): void {
  calls()?.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, new Int32Array([bytes]), 4);
}

/** Let the kernel find out about a client that is gone without a word: SO_KEEPALIVE of socket(7). */
export function keepAlive(fd: number): void {
  calls()?.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, new Int32Array([1]), 4);
}

/** The address of the client as a struct sockaddr, or undefined where the kernel does not say. */
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
  // For other kinds of sockets the kernel answers without a peer.
  return pid > 0 ? { pid, uid: uid >>> 0, gid: gid >>> 0 } : undefined;
}

/**
 * Those of the descriptors whose other end sends no more, also if some of what it sent was not read
 * yet. Never waits.
 */
export function hungUp(fds: readonly number[]): readonly number[] {
  if (fds.length === 0 || calls() === undefined) return [];
  const events = poll(fds, POLLRDHUP, 0) ?? [];
  return fds.filter((_, i) => ((events[i] ?? 0) & (POLLERR | POLLHUP | POLLRDHUP)) !== 0);
}

/**
 * Receive what has come, as much as fits. Returns how much that is: 0 where nothing has come, or nothing will, or it
 * failed, which code that waits for the socket also detects.
 */
export function receiveNow(fd: number, into: Uint8Array): number {
  return Math.max(0, Number(calls()?.recv(fd, into, into.length, MSG_DONTWAIT) ?? 0));
}

function calls(): ReturnType<typeof libc> | undefined {
  try {
    return libc();
  } catch {
    // Sockets work without it.
    return undefined;
  }
}
