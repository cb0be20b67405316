/** Creates listening sockets that Bun cannot create, with our options, labels and address families. Bun adopts them. */
import { type Pointer, read, toArrayBuffer } from "bun:ffi";
import { closeSync } from "node:fs";

import { bytesOf, textOf } from "../lib/text-bytes.ts";
import { callsOf, checked, fixed, lastErrno } from "./call.ts";
import {
  AF_INET,
  AF_INET6,
  AF_UNIX,
  AF_UNSPEC,
  AF_VSOCK,
  AI_PASSIVE,
  IPPROTO_IPV6,
  IPV6_V6ONLY,
  offsetOf,
  sizeOf,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  SOL_SOCKET,
  SOMAXCONN,
  VMADDR_CID_ANY,
} from "./generated/libc.gen.ts";
import * as selinux from "./generated/selinux.gen.ts";
import { openSystemLibrary } from "./system-library.ts";
import { cBytes, textAt } from "./text.ts";

const libc = callsOf(
  "bind",
  "freeaddrinfo",
  "gai_strerror",
  "getaddrinfo",
  "getsockname",
  "listen",
  "setsockopt",
  "socket",
);

/** Every address begins with its family. IPv4 and IPv6 addresses have the port at the same offset. */
const familyAt = offsetOf.sockaddr.sa_family;
const portAt = offsetOf.sockaddr_in.sin_port;
const pathAt = offsetOf.sockaddr_un.sun_path;

export type IpFamily = 4 | 6;

/** A struct sockaddr in the kernel's form. */
export type SocketAddress = Uint8Array;

/** The address of a bound socket. */
export type Bound =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly port: number }
  | { readonly kind: "vsock"; readonly port: number }
  | { readonly kind: "other" };

/** The address of a Unix socket. The path must have less than 108 bytes. */
export function unixAddress(path: string): SocketAddress {
  const bytes = bytesOf(path);
  const address = new Uint8Array(pathAt + bytes.length + 1);
  new DataView(address.buffer).setUint16(familyAt, AF_UNIX, true);
  address.set(bytes, pathAt);
  return address;
}

/** The AF_VSOCK address of a port, for clients in all virtual machines. */
export function vsockAddress(port: number): SocketAddress {
  const view = new DataView(new ArrayBuffer(sizeOf.sockaddr_vm));
  view.setUint16(familyAt, AF_VSOCK, true);
  view.setUint32(offsetOf.sockaddr_vm.svm_port, port, true);
  view.setUint32(offsetOf.sockaddr_vm.svm_cid, VMADDR_CID_ANY, true);
  return new Uint8Array(view.buffer);
}

/**
 * The addresses to listen on for a host name, or without one for all addresses of this machine: getaddrinfo(3) with
 * AI_PASSIVE, in its order. Throws an Error with the resolver's message.
 */
export function tcpAddresses(
  host: string | undefined,
  port: number,
  family: IpFamily | undefined,
): readonly SocketAddress[] {
  const { ai_family, ai_flags, ai_socktype } = offsetOf.addrinfo;
  const hints = new Uint8Array(sizeOf.addrinfo);
  const view = new DataView(hints.buffer);
  view.setInt32(ai_flags, AI_PASSIVE, true);
  view.setInt32(ai_family, family === undefined ? AF_UNSPEC : families[family], true);
  view.setInt32(ai_socktype, SOCK_STREAM, true);
  const list = fixed(BigUint64Array, 1);
  const service = cBytes(String(port));
  const node = host === undefined ? null : cBytes(host);
  const failure = libc().getaddrinfo(node, service, hints, list);
  if (failure !== 0) {
    const reason = libc().gai_strerror(failure);
    throw new Error(reason === null ? `error ${failure}` : textAt(reason).toLowerCase());
  }
  const first = Number(list[0] ?? 0n) as Pointer;
  try {
    return [...entries(first)];
  } finally {
    libc().freeaddrinfo(first);
  }
}

const families = { 4: AF_INET, 6: AF_INET6 } as const;

/** The addresses in a list of struct addrinfo. */
function* entries(first: Pointer): Iterable<SocketAddress> {
  const { ai_addr, ai_addrlen, ai_next } = offsetOf.addrinfo;
  for (let at = Number(first); at !== 0; at = read.ptr(at as Pointer, ai_next)) {
    const length = read.u32(at as Pointer, ai_addrlen);
    const address = read.ptr(at as Pointer, ai_addr) as Pointer;
    yield new Uint8Array(toArrayBuffer(address, 0, length)).slice();
  }
}

/** A copy of the address with another port. */
export function withPort(address: SocketAddress, port: number): SocketAddress {
  const changed = address.slice();
  new DataView(changed.buffer).setUint16(portAt, port);
  return changed;
}

/** Create a socket that is bound to the address and listens. Throws an error with the errno's name in `code`. */
export function listenOn(address: SocketAddress): number {
  const c = libc();
  const family = new DataView(address.buffer, address.byteOffset).getUint16(familyAt, true);
  const fd = checked("socket", c.socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  try {
    const yes = new Int32Array([1]);
    if (family === AF_INET || family === AF_INET6)
      c.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, yes, 4);
    // Otherwise the IPv6 socket would take the IPv4 address as well.
    if (family === AF_INET6) c.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, yes, 4);
    checked("bind", c.bind(fd, address, address.length));
    listenLong(fd);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Let as many clients wait on the socket as the system allows. Bun lowers this to 512 when it adopts a socket. */
export function listenLong(fd: number): void {
  checked("listen", libc().listen(fd, SOMAXCONN));
}

/** The address that the socket is bound to. Throws if the descriptor is not a socket. */
export function boundTo(fd: number): Bound {
  const address = new Uint8Array(sizeOf.sockaddr_storage);
  const length = new Uint32Array([address.length]);
  checked("getsockname", libc().getsockname(fd, address, length));
  const view = new DataView(address.buffer);
  switch (view.getUint16(familyAt, true)) {
    case AF_UNIX:
      return { kind: "unix", path: pathOf(address.subarray(pathAt, length[0])) };
    case AF_INET:
    case AF_INET6:
      return { kind: "tcp", port: view.getUint16(portAt) };
    case AF_VSOCK:
      return { kind: "vsock", port: view.getUint32(offsetOf.sockaddr_vm.svm_port, true) };
    default:
      return { kind: "other" };
  }
}

/** An abstract name starts with a NUL, and all of its bytes count: unix(7). */
function pathOf(bytes: Uint8Array): string {
  const end = bytes[0] === 0 ? -1 : bytes.indexOf(0);
  return textOf(end === -1 ? bytes : bytes.subarray(0, end));
}

/** Give all sockets that `make` creates the SELinux label: setsockcreatecon(3). Throws without SELinux. */
export function labelled<T>(label: string, make: () => T): T {
  // Load what lastErrno needs before the call below, whose errno `checked` reports.
  lastErrno();
  const { setsockcreatecon } = openSystemLibrary("libselinux.so.1", selinux.symbols);
  checked("setsockcreatecon", setsockcreatecon(cBytes(label)));
  try {
    return make();
  } finally {
    setsockcreatecon(null);
  }
}
