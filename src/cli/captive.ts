/** The command of --run: a shell beside the server, which gets the server's address. */
import { closeSync, writeSync } from "node:fs";

import { ConfigError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { bytesOf } from "../lib/text-bytes.ts";
import { messageOf } from "../lib/thrown.ts";
import type { Address } from "../server/sockets.ts";
import { initialOpenFiles, withMostOpenFiles } from "../sys/open-files.ts";
import { protectDescriptor, protectProcessDescriptor } from "../sys/protected-descriptors.ts";
import { givenDescriptors } from "./given-descriptors.ts";
import { scriptWordBytes } from "./limits.ts";
import { endTree, killTree } from "./process-tree.ts";
import { quote, uriOf, type UriOptions } from "./uri.ts";

/** The address and options that the command gets as shell variables. */
export interface CaptiveAddress extends UriOptions {
  readonly address: Address;
}

/** The command's stdin and stdout. Its stderr is this process's. */
export interface CaptiveStreams {
  readonly input: number;
  readonly output: number;
}

export interface CaptiveCommand {
  /** The exit status, or 128 + the number of the signal that killed it. */
  readonly status: Promise<number>;
  /** Start the command. Until then the shell waits, and ends if this process ends. */
  release(): void;
  /** Ask the command and the processes that it started to end. Does nothing after it has ended. */
  terminate(): void;
  /** Kill the command and the processes that it started. Does nothing after it has ended. */
  kill(): void;
}

/** The shell waits for a line at the gate: a descriptor of one digit, which all shells accept. */
const waitAt = (gate: number): string =>
  `read nbdkit_ready <&${gate} || exit 1; exec ${gate}<&-; unset nbdkit_ready\n`;

/** The command gets the limit of open files that the server was started with. */
function openFiles(): string {
  const limit = initialOpenFiles();
  return limit === undefined ? "" : `ulimit -Sn ${limit}\n`;
}

const gates = [3, 4, 5, 6, 7, 8, 9] as const;

/** The gate and the shell's descriptors. Descriptors that this process was given keep their numbers. */
function descriptorsOf({ input, output }: CaptiveStreams) {
  const given = givenDescriptors();
  const gate = gates.find((fd) => !given.includes(fd)) ?? 9;
  const stdio: ("ignore" | "inherit" | "pipe" | number)[] = [input, output, "inherit"];
  // Above the standard streams, "ignore" leaves a number unused.
  for (let fd = 3; fd <= Math.max(gate, ...given); fd++) {
    stdio.push(fd === gate ? "pipe" : given.includes(fd) ? fd : "ignore");
  }
  return { gate, stdio };
}

/** nbdkit-captive(1). It has the current user and group of this process, and runs when it is released. */
export function holdCommand(
  text: string,
  where: CaptiveAddress,
  streams: CaptiveStreams,
): CaptiveCommand {
  const { gate, stdio } = descriptorsOf(streams);
  const script = waitAt(gate) + openFiles() + shellVariables(where) + text;
  const child = startShell(shellCommand(script), stdio);
  protectProcessDescriptor(child.pid);
  // For a pipe above the standard streams, Bun returns a descriptor.
  const opener = Number(child.stdio[gate]);
  protectDescriptor(opener);
  const release = (): void => {
    try {
      writeSync(opener, "\n");
    } catch (error) {
      // The shell has already ended.
      log.debug(`the command of --run did not wait: ${String(error)}`);
    }
    closeSync(opener);
  };
  let askAgain: (() => Promise<void>) | undefined;
  const terminate = (): void => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    askAgain = endTree(child.pid);
  };
  const kill = (): void => {
    if (child.exitCode === null && child.signalCode === null) killTree(child.pid);
  };
  // The command must not outlive a server that ends unexpectedly.
  process.on("exit", terminate);
  const status = child.exited.finally(async () => {
    process.off("exit", terminate);
    await askAgain?.();
    // Keep the shell from reporting its own end.
    if (child.signalCode !== null && askAgain === undefined) {
      log.error(`the command of --run was killed by ${child.signalCode}`);
    }
  });
  return { status, release, terminate, kill };
}

function startShell(command: string[], stdio: ReturnType<typeof descriptorsOf>["stdio"]) {
  try {
    // The three streams exist, which the compiler cannot see.
    return withMostOpenFiles(() =>
      Bun.spawn(command, { stdio: stdio as ["ignore", "inherit", "inherit"] }),
    );
  } catch (error) {
    throw new ConfigError(`option --run: cannot start the command: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/**
 * Bun only passes valid text. A first shell restores the bytes that are not UTF-8, and becomes the
 * shell that runs the script.
 */
function shellCommand(script: string): string[] {
  if (script.isWellFormed()) return ["/bin/sh", "-c", script, "sh"];
  // $(...) drops newlines at the end, so add a character after them.
  const first = 'set -- "$(printf %b "$@" x)"; exec /bin/sh -c "${1%x}" sh';
  return ["/bin/sh", "-c", first, "sh", ...escapedPieces(bytesOf(script))];
}

/** For %b of printf(1), which joins the pieces. */
function escapedPieces(bytes: Uint8Array): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length; at += scriptWordBytes) {
    const piece = Buffer.from(bytes.subarray(at, at + scriptWordBytes)).toString("latin1");
    const escape = (byte: string): string =>
      String.raw`\0${byte.charCodeAt(0).toString(8).padStart(3, "0")}`;
    pieces.push(piece.replaceAll(/[\\\u0080-\u00ff]/g, escape));
  }
  return pieces;
}

/** Variables of the shell, not exported, in front of the user's text. */
export function shellVariables({ address, ...options }: CaptiveAddress): string {
  const port = "port" in address ? address.port : "vsock" in address ? address.vsock : "";
  const { exportName, tls } = options;
  const variables = [
    `uri=${quote(uriOf(address, options))}`,
    'nbd="$uri"',
    `exportname=${quote(exportName)}`,
    ...(tls.mode === "off" ? [] : [`tls=${tls.mode === "require" ? 2 : 1}`]),
    `tls_certificates=${quote(tls.certificates ?? "")}`,
    `tls_psk=${quote(tls.psk ?? "")}`,
    `port=${quote(String(port))}`,
    `unixsocket=${quote("unix" in address ? address.unix : "")}`,
  ];
  return variables.join("\n") + "\n";
}
