/** Makes sockets that listen, as Bun cannot: with options, labels and families of our choice, and for Bun to adopt. */
import { type Pointer, read, toArrayBuffer } from "bun:ffi";
import { closeSync } from "node:fs";

import { bytesOf, textOf } from "../lib/text-bytes.ts";
import { callsOf, lastErrno, systemError } from "./system-error.ts";
import { openSystemLibrary } from "./system-library.ts";
import { cBytes } from "./text.ts";

/** Of Linux, the same on x86-64 and aarch64. */
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_VSOCK = 40;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const SOMAXCONN = 4096;
const AI_PASSIVE = 1;
const VMADDR_CID_ANY = 0xffffffff;
/** A struct sockaddr_storage. */
const addressBytes = 128;

const libc = callsOf({
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "buffer", "u32"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "buffer", "u32"], returns: "i32" },
  getsockname: { args: ["i32", "buffer", "buffer"], returns: "i32" },
  getaddrinfo: { args: ["ptr", "ptr", "buffer", "buffer"], returns: "i32" },
  freeaddrinfo: { args: ["ptr"], returns: "void" },
  gai_strerror: { args: ["i32"], returns: "cstring" },
});

export type IpFamily = 4 | 6;

/** A struct sockaddr, as the kernel takes it. */
export type SocketAddress = Uint8Array;

/** What a socket is bound to. */
export type Bound =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly port: number }
  | { readonly kind: "vsock"; readonly port: number }
  | { readonly kind: "other" };

/** A Unix socket's address. The path must have less than 108 bytes. */
export function unixAddress(path: string): SocketAddress {
  const bytes = bytesOf(path);
  const address = new Uint8Array(2 + bytes.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(bytes, 2);
  return address;
}

/** The address of a port of AF_VSOCK, for clients in all machines. */
export function vsockAddress(port: number): SocketAddress {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint16(0, AF_VSOCK, true);
  view.setUint32(4, port, true);
  view.setUint32(8, VMADDR_CID_ANY, true);
  return new Uint8Array(view.buffer);
}

/**
 * The addresses to listen on that the host's name, or without one all of this machine, stands for: getaddrinfo(3)
 * with AI_PASSIVE, in its order. Throws an Error with the resolver's words.
 */
export function tcpAddresses(
  host: string | undefined,
  port: number,
  family: IpFamily | undefined,
): readonly SocketAddress[] {
  const hints = new Int32Array(new ArrayBuffer(48));
  hints[0] = AI_PASSIVE;
  hints[1] = family === undefined ? 0 : family === 4 ? AF_INET : AF_INET6;
  hints[2] = SOCK_STREAM;
  const list = new BigUint64Array(new ArrayBuffer(8));
  const service = cBytes(String(port));
  const node = host === undefined ? null : cBytes(host);
  const failure = libc().getaddrinfo(node, service, hints, list);
  if (failure !== 0) throw new Error(String(libc().gai_strerror(failure)).toLowerCase());
  const first = Number(list[0] ?? 0n) as Pointer;
  try {
    return [...entries(first)];
  } finally {
    libc().freeaddrinfo(first);
  }
}

/**
 * struct addrinfo: { int flags, family, socktype, protocol; socklen_t addrlen; sockaddr *; char *;
 * addrinfo *next }.
 */
function* entries(first: Pointer): Iterable<SocketAddress> {
  for (let at = Number(first); at !== 0; at = read.ptr(at as Pointer, 40)) {
    const length = read.u32(at as Pointer, 16);
    const address = read.ptr(at as Pointer, 24) as Pointer;
    yield new Uint8Array(toArrayBuffer(address, 0, length)).slice();
  }
}

/** The address with another port. */
export function withPort(address: SocketAddress, port: number): SocketAddress {
  const changed = address.slice();
  new DataView(changed.buffer).setUint16(2, port);
  return changed;
}

/** A socket that is bound to the address and listens. Throws with the errno's name in `code`. */
export function listenOn(address: SocketAddress): number {
  const c = libc();
  const family = new DataView(address.buffer, address.byteOffset).getUint16(0, true);
  const fd = c.socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd === -1) throw systemError("socket");
  try {
    const yes = new Int32Array([1]);
    if (family === AF_INET || family === AF_INET6)
      c.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, yes, 4);
    // Otherwise the address of IPv6 would take that of IPv4 as well.
    if (family === AF_INET6) c.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, yes, 4);
    if (c.bind(fd, address, address.length) === -1) throw systemError("bind");
    listenLong(fd);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Let as many clients wait on the socket as the system allows. Bun leaves room for 512 when it adopts one. */
export function listenLong(fd: number): void {
  if (libc().listen(fd, SOMAXCONN) === -1) throw systemError("listen");
}

/** What the socket is bound to. Throws where it is no socket. */
export function boundTo(fd: number): Bound {
  const address = new Uint8Array(new ArrayBuffer(addressBytes));
  const length = new Uint32Array([addressBytes]);
  if (libc().getsockname(fd, address, length) === -1) throw systemError("getsockname");
  const view = new DataView(address.buffer);
  switch (view.getUint16(0, true)) {
    case AF_UNIX:
      return { kind: "unix", path: pathOf(address.subarray(2, length[0])) };
    case AF_INET:
    case AF_INET6:
      return { kind: "tcp", port: view.getUint16(2) };
    case AF_VSOCK:
      return { kind: "vsock", port: view.getUint32(4, true) };
    default:
      return { kind: "other" };
  }
}

/** Abstract names start with a NUL, and all of their bytes count: unix(7). */
function pathOf(bytes: Uint8Array): string {
  const end = bytes[0] === 0 ? -1 : bytes.indexOf(0);
  return textOf(end === -1 ? bytes : bytes.subarray(0, end));
}

/**
 * Give all sockets that `make` makes the SELinux label: setsockcreatecon(3). Throws where there is no SELinux.
 */
export function labelled<T>(label: string, make: () => T): T {
  // Load its dependencies before the call whose error it reports.
  lastErrno();
  const selinux = openSystemLibrary("libselinux.so.1", {
    setsockcreatecon: { args: ["ptr"], returns: "i32" },
  });
  if (selinux.setsockcreatecon(cBytes(label)) === -1) {
    throw systemError("setsockcreatecon");
  }
  try {
    return make();
  } finally {
    selinux.setsockcreatecon(null);
  }
}
