/** Creates the sockets that clients connect to: Unix paths, TCP addresses and AF_VSOCK ports. */
import { closeSync } from "node:fs";

import { ConfigError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { quoted } from "../lib/quoted.ts";
import { byteLengthOf } from "../lib/text-bytes.ts";
import { messageOf } from "../lib/thrown.ts";
import {
  boundTo,
  type IpFamily,
  labelled,
  listenOn,
  type SocketAddress,
  tcpAddresses,
  unixAddress,
  vsockAddress,
  withPort,
} from "../sys/listening.ts";
import { mostPortChoices } from "./limits.ts";
import { codeOf, listenProblem, mustBeFree } from "./listen-problem.ts";

/** An address to listen on. With port 0 the kernel chooses one. `fd` is a socket that already listens. */
export type ListenTarget =
  | { readonly unix: string }
  | { readonly port: number; readonly address?: string }
  | { readonly vsock: number }
  | { readonly fd: number };

/** The address that a server listens on. */
export type Address =
  | { readonly unix: string }
  | { readonly port: number; readonly address?: string }
  | { readonly vsock: number };

export interface SocketOptions {
  /** -4 and -6: use only this family of IP addresses. */
  readonly ipFamily: IpFamily | undefined;
  readonly selinuxLabel: string | undefined;
  /** Make TCP detect dead clients. */
  readonly keepalive: boolean;
}

/** The sockets of one target. TCP has one for each address of the name. */
export interface Listening {
  readonly address: Address;
  readonly kind: "other" | "tcp" | "unix";
  readonly fds: readonly number[];
}

/** sun_path has 108 bytes, and the last one is zero. */
const maxPathBytes = 107;
const mostVsockPort = 0xffffffff;
/** Errors for which one of several addresses is skipped. */
const skippable = new Set(["EADDRINUSE", "EAFNOSUPPORT", "EADDRNOTAVAIL"]);

/** Bind and listen. Throws ConfigError. */
export function openTarget(target: ListenTarget, options: SocketOptions): Listening {
  if ("fd" in target) return adopt(target.fd);
  if ("vsock" in target) return openVsock(target.vsock);
  const { selinuxLabel } = options;
  const open = () => ("unix" in target ? openUnix(target.unix) : openTcp(target, options.ipFamily));
  return selinuxLabel === undefined ? open() : withLabel(selinuxLabel, open);
}

function withLabel<T>(label: string, open: () => T): T {
  try {
    return labelled(label, open);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(
      `sockets cannot have the SELinux label ${quoted(label)}: ${messageOf(error)}: ` +
        "expected a label of this machine's policy, and a kernel with SELinux",
      { cause: error },
    );
  }
}

function openUnix(path: string): Listening {
  const bytes = byteLengthOf(path);
  if (bytes > maxPathBytes) {
    throw new ConfigError(
      `${path}: the path of a Unix socket may have ${maxPathBytes} bytes, this one has ${bytes}`,
    );
  }
  try {
    mustBeFree(path);
    const fd = listenOn(unixAddress(path));
    log.debug(`bound to unix socket ${path}`);
    return { address: { unix: path }, kind: "unix", fds: [fd] };
  } catch (error) {
    throw listenProblem(path, error, "unix");
  }
}

function openVsock(wanted: number): Listening {
  try {
    // The kernel chooses a port if all bits are set.
    const fd = listenOn(vsockAddress(wanted === 0 ? mostVsockPort : wanted));
    const bound = boundTo(fd);
    const vsock = bound.kind === "vsock" ? bound.port : wanted;
    log.debug(`bound to vsock port ${vsock}`);
    return { address: { vsock }, kind: "other", fds: [fd] };
  } catch (error) {
    throw listenProblem(`vsock port ${wanted}`, error, "vsock");
  }
}

type TcpTarget = Extract<ListenTarget, { readonly port: number }>;

function openTcp(target: TcpTarget, family: IpFamily | undefined): Listening {
  const { port, address } = target;
  const name = `${address ?? "*"}:${port}`;
  const addresses = resolve(address, port, family);
  for (let choice = 1; ; choice++) {
    const { fds, chosen, failure } = bindAll(addresses, port);
    if (fds.length === 0) throw listenProblem(name, failure, "tcp");
    if (port === 0 && codeOf(failure) === "EADDRINUSE" && choice < mostPortChoices) {
      fds.forEach(closeSync);
      continue;
    }
    log.debug(`bound to IP address ${address ?? "*"}:${chosen} (${fds.length} socket(s))`);
    const where = { port: chosen, ...(address === undefined ? {} : { address }) };
    return { address: where, kind: "tcp", fds };
  }
}

/** Bind all addresses to one port, even if the kernel chooses it. `failure` is the first error. */
function bindAll(
  addresses: readonly SocketAddress[],
  wanted: number,
): { readonly fds: number[]; readonly chosen: number; readonly failure: unknown } {
  const fds: number[] = [];
  let chosen = wanted;
  let failure: unknown;
  for (const address of addresses) {
    try {
      const fd = listenOn(withPort(address, chosen));
      fds.push(fd);
      const bound = boundTo(fd);
      if (bound.kind === "tcp") chosen = bound.port;
    } catch (error) {
      failure ??= error;
      if (skippable.has(codeOf(error))) continue;
      fds.splice(0).forEach(closeSync);
      return { fds, chosen, failure: error };
    }
  }
  return { fds, chosen, failure };
}

function resolve(
  host: string | undefined,
  port: number,
  family: IpFamily | undefined,
): readonly SocketAddress[] {
  try {
    return tcpAddresses(host, port, family);
  } catch (error) {
    const kind = family === undefined ? "" : ` as an address of IPv${family}`;
    throw listenProblem(`${host ?? "*"}${kind}`, error, "tcp");
  }
}

function adopt(fd: number): Listening {
  try {
    const bound = boundTo(fd);
    const kind = bound.kind === "vsock" ? "other" : bound.kind;
    return { address: addressOf(bound), kind, fds: [fd] };
  } catch (error) {
    throw listenProblem(`descriptor ${fd}`, error);
  }
}

function addressOf(bound: ReturnType<typeof boundTo>): Address {
  switch (bound.kind) {
    case "unix":
      return { unix: bound.path };
    case "tcp":
      return { port: bound.port };
    case "vsock":
      return { vsock: bound.port };
    case "other":
      throw new ConfigError("expected a socket of AF_UNIX, AF_INET, AF_INET6 or AF_VSOCK");
    default:
      return bound satisfies never;
  }
}
