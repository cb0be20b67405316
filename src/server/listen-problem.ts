/** Explains why the server cannot listen on an address, and what the user can do. */
import { lstatSync, readFileSync } from "node:fs";

import { errnoText, isErrno } from "../lib/errno.ts";
import { ConfigError } from "../lib/errors.ts";
import { filePath } from "../lib/text-bytes.ts";
import { messageOf } from "../lib/thrown.ts";

/** Advice by the kind of address and the name of the error, or by the resolver's message. */
const remedies: Readonly<Record<"tcp" | "unix" | "vsock", Readonly<Record<string, string>>>> = {
  tcp: {
    EADDRINUSE:
      "another program listens there: end it (`ss -ltnp` shows it), or take another port with -p (0 for any that is free)",
    EADDRNOTAVAIL: "expected an address of this machine, as `ip address` shows them",
    EACCES: "ports below 1024 are for root: take another one with -p",
    EPERM: "something on this machine forbids it, such as seccomp or SELinux",
    EAFNOSUPPORT: "this kernel has no addresses of this kind: try -4 or -6",
    "name or service not known":
      "expected an address of this machine, or a name that it finds one for",
  },
  unix: {
    ENOENT: "expected a path in a directory that exists",
    ENOTDIR: "expected a path in a directory",
    EACCES: "expected a directory in which this user may make files",
    EPERM: "expected a directory in which this user may make files",
    EROFS: "expected a directory in which files can be made",
    ELOOP: "expected a path without links that lead to themselves",
  },
  vsock: {
    EADDRINUSE: "another program listens there: end it, or take another port with -p",
    EACCES: "ports below 1024 are for root: take another one with -p",
    EAFNOSUPPORT:
      "this kernel has no AF_VSOCK: try `modprobe vsock_loopback`, or another kind of address",
    ENODEV:
      "this kernel has no AF_VSOCK: try `modprobe vsock_loopback`, or another kind of address",
  },
};

export function listenProblem(
  where: string,
  error: unknown,
  kind?: keyof typeof remedies,
): ConfigError {
  if (error instanceof ConfigError) return error;
  const code = codeOf(error);
  const words = isErrno(code) ? `${errnoText(code)} (${code})` : code || messageOf(error);
  const remedy = kind === undefined ? undefined : remedies[kind][code || messageOf(error)];
  const more = remedy === undefined ? "" : `: ${remedy}`;
  return new ConfigError(`${where}: cannot listen on this address: ${words}${more}`, {
    cause: error,
  });
}

/** The name of the error's errno, if it has one. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}

/** Check that nothing exists at the path of a Unix socket. Throws an error of node:fs if that is unknown. */
export function mustBeFree(path: string): void {
  const found = lstatSync(filePath(path), { throwIfNoEntry: false });
  if (found === undefined) return;
  const what = !found.isSocket()
    ? "not a socket: expected a path where nothing is"
    : isListenedOn(path)
      ? "another program listens there: end it, or choose another path"
      : "nothing listens there any more: remove it first";
  throw new ConfigError(`${path}: cannot listen on this path: it exists already: ${what}`);
}

function isListenedOn(path: string): boolean {
  try {
    // The flag __SO_ACCEPTCON: the socket listens.
    return readFileSync("/proc/net/unix", "utf8")
      .split("\n")
      .some((line) => line.endsWith(` ${path}`) && line.split(" ")[3] === "00010000");
  } catch {
    // There is no /proc.
    return false;
  }
}
