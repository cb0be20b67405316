/** What Bun's sockets do not do: say who the client is as C wants it, and set how much the kernel keeps for it. */
import { FFIType } from "bun:ffi";

import { openLibc } from "./libc.ts";

/** Of Linux, the same on x86-64 and aarch64. */
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_KEEPALIVE = 9;
const SO_PEERCRED = 17;
const MSG_DONTWAIT = 0x40;
/** Of poll(2). */
const POLLERR = 0x8;
const POLLHUP = 0x10;
const POLLRDHUP = 0x2000;
/** A struct pollfd: the descriptor, then in two halves of a word what is asked for and what is so. */
const pollWords = 2;
/** A struct sockaddr_storage. */
const addressBytes = 128;

/** A process on this machine. */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

const symbols = {
  poll: { args: ["buffer", "u64", "i32"], returns: "i32" },
  getpeername: { args: ["i32", "buffer", "buffer"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "buffer", "buffer"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "buffer", "u32"], returns: "i32" },
  recv: { args: ["i32", "ptr", FFIType.u64_fast, "i32"], returns: FFIType.i64_fast },
} as const;

function load() {
  try {
    return openLibc(symbols);
  } catch {
    // Sockets work without it.
    return undefined;
  }
}

let libc: ReturnType<typeof load>;
let loaded = false;

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
  const address = new Uint8Array(addressBytes);
  const length = new Uint32Array([addressBytes]);
  if (calls()?.getpeername(fd, address, length) !== 0) return undefined;
  return address.slice(0, length[0]);
}

/** The process at the other end of a Unix socket. */
export function peerCredentials(fd: number): Peer | undefined {
  const numbers = new Int32Array(3);
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
  const polled = new Int32Array(fds.length * pollWords);
  fds.forEach((fd, i) => polled.set([fd, POLLRDHUP], i * pollWords));
  if (fds.length === 0 || !((calls()?.poll(polled, fds.length, 0) ?? 0) > 0)) return [];
  const events = (i: number) => (polled[i * pollWords + 1] ?? 0) >>> 16;
  return fds.filter((_, i) => (events(i) & (POLLERR | POLLHUP | POLLRDHUP)) !== 0);
}

/**
 * Receive what has come, as much as fits. Returns how much that is: 0 where nothing has come, or nothing will, or it
 * failed, which code that waits for the socket also detects.
 */
export function receiveNow(fd: number, into: Uint8Array): number {
  const count = calls()?.recv(fd, into, into.length, MSG_DONTWAIT) ?? 0;
  return Math.max(0, Number(count));
}

function calls(): ReturnType<typeof load> {
  if (!loaded) {
    loaded = true;
    libc = load();
  }
  return libc;
}
