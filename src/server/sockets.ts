/** Makes the sockets that clients connect to, on Unix paths, TCP addresses and AF_VSOCK ports. */
import { closeSync, lstatSync } from "node:fs";

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
} from "#abi/listening";

import { ConfigError } from "../api/errors.ts";
import { log } from "../lib/log.ts";
import { quoted } from "../lib/quoted.ts";
import { byteLengthOf, filePath } from "../lib/text-bytes.ts";
import { messageOf } from "../lib/thrown.ts";

/** Where to listen. A port of 0 lets the kernel choose. `fd` is a socket that listens already. */
export type ListenTarget =
  | { readonly unix: string }
  | { readonly port: number; readonly address?: string }
  | { readonly vsock: number }
  | { readonly fd: number };

/** Where a server listens. */
export type Address =
  | { readonly unix: string }
  | { readonly port: number; readonly address?: string }
  | { readonly vsock: number };

export interface SocketOptions {
  /** -4 and -6: the only kind of IP addresses. */
  readonly ipFamily?: IpFamily | undefined;
  readonly selinuxLabel?: string | undefined;
}

/** The sockets of one target: TCP has one for each address. */
export interface Listening {
  readonly address: Address;
  readonly kind: "other" | "tcp" | "unix";
  readonly fds: readonly number[];
}

/** sun_path has 108 bytes, the last of them zero. */
const maxPathBytes = 107;
const mostVsockPort = 0xffffffff;
/** Reasons to do without one of several addresses. */
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
      `sockets cannot have the SELinux label ${quoted(label)}: ${reasonOf(error)}: ` +
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
    if (lstatSync(filePath(path), { throwIfNoEntry: false }) !== undefined) {
      throw new ConfigError(`${path}: cannot listen on this path: it exists already`);
    }
    const fd = listenOn(unixAddress(path));
    log.debug(`bound to unix socket ${path}`);
    return { address: { unix: path }, kind: "unix", fds: [fd] };
  } catch (error) {
    throw refused(path, error);
  }
}

function openVsock(wanted: number): Listening {
  try {
    // The kernel chooses where all bits are set.
    const fd = listenOn(vsockAddress(wanted === 0 ? mostVsockPort : wanted));
    const bound = boundTo(fd);
    const vsock = bound.kind === "vsock" ? bound.port : wanted;
    log.debug(`bound to vsock port ${vsock}`);
    return { address: { vsock }, kind: "other", fds: [fd] };
  } catch (error) {
    const unknown = codeOf(error) === "EAFNOSUPPORT" || codeOf(error) === "ENODEV";
    throw refused(`vsock port ${wanted}`, error, unknown ? "this kernel has no AF_VSOCK" : "");
  }
}

type TcpTarget = Extract<ListenTarget, { readonly port: number }>;

/** The kernel may choose a port for one address that another program has on the next one. */
const mostChoices = 20;

function openTcp(target: TcpTarget, family: IpFamily | undefined): Listening {
  const { port, address } = target;
  const name = `${address ?? "*"}:${port}`;
  const addresses = resolve(address, port, family);
  for (let choice = 1; ; choice++) {
    const { fds, chosen, failure } = bindAll(addresses, port);
    if (fds.length === 0) throw refused(name, failure);
    if (port === 0 && codeOf(failure) === "EADDRINUSE" && choice < mostChoices) {
      fds.forEach(closeSync);
      continue;
    }
    log.debug(`bound to IP address ${address ?? "*"}:${chosen} (${fds.length} socket(s))`);
    const where = { port: chosen, ...(address === undefined ? {} : { address }) };
    return { address: where, kind: "tcp", fds };
  }
}

/** All addresses share one port, also where the kernel chooses it. `failure` is the first one. */
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
    throw refused(`${host ?? "*"}${kind}`, error);
  }
}

function adopt(fd: number): Listening {
  try {
    const bound = boundTo(fd);
    const kind = bound.kind === "vsock" ? "other" : bound.kind;
    return { address: addressOf(bound), kind, fds: [fd] };
  } catch (error) {
    throw refused(`descriptor ${fd}`, error);
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

function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}

function reasonOf(error: unknown): string {
  return codeOf(error) || messageOf(error);
}

function refused(where: string, error: unknown, hint = ""): ConfigError {
  if (error instanceof ConfigError) return error;
  const code = codeOf(error);
  const known = code === "EADDRINUSE" ? "another program listens there already" : hint;
  const more = known === "" ? "" : ` (${known})`;
  return new ConfigError(`${where}: cannot listen on this address: ${reasonOf(error)}${more}`, {
    cause: error,
  });
}
