/** The command of --run: a shell beside the server, that is told where the server is. */
import { closeSync, readFileSync, writeSync } from "node:fs";

import { log } from "../lib/log.ts";
import type { Address } from "../server/sockets.ts";
import { quote, uriOf, type UriOptions } from "./uri.ts";

/** What the command is told. */
export interface CaptiveAddress extends UriOptions {
  readonly address: Address;
}

/** Its stdin and stdout; stderr is this process's. */
export interface CaptiveStreams {
  readonly input: number;
  readonly output: number;
}

export interface CaptiveCommand {
  /** The exit status, or 128 + the number of the signal that killed it. */
  readonly status: Promise<number>;
  /** Begin. Without it the shell waits, and ends with this process. */
  release(): void;
  /** Ask it, and what it started, to end. Does nothing once it has ended. */
  terminate(): void;
}

/** The shell waits for a line there: a single digit, which all shells take. */
const gate = 3;
const wait = `read nbdkit_ready <&${gate} || exit 1; exec ${gate}<&-; unset nbdkit_ready\n`;

/** nbdkit-captive(1). It has the user and the group that this process has now, and runs once it is released. */
export function holdCommand(
  text: string,
  where: CaptiveAddress,
  streams: CaptiveStreams,
): CaptiveCommand {
  const script = wait + shellVariables(where) + text;
  const child = Bun.spawn(["/bin/sh", "-c", script], {
    stdio: [streams.input, streams.output, "inherit", "pipe"],
  });
  // Bun has the descriptor for pipes above the three.
  const opener = Number(child.stdio[gate]);
  const release = (): void => {
    try {
      writeSync(opener, "\n");
    } catch (error) {
      // Somebody ended it meanwhile.
      log.debug(`the command of --run does not wait: ${String(error)}`);
    }
    closeSync(opener);
  };
  const terminate = (): void => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    // Held, so that it starts nothing that would not be seen.
    signal(child.pid, "SIGSTOP");
    for (const pid of descendants(child.pid)) signal(pid, "SIGTERM");
    signal(child.pid, "SIGTERM");
    signal(child.pid, "SIGCONT");
  };
  // A command must not outlive a server that ends in a way that nobody foresaw.
  process.on("exit", terminate);
  const status = child.exited.finally(() => process.off("exit", terminate));
  return { status, release, terminate };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It ended in this moment, or belongs to the user that this process was before.
    log.debug(`${name} to process ${pid} of the command: ${String(error)}`);
  }
}

/** Variables of the shell, not exported, in front of the user's text. */
export function shellVariables({ address, ...options }: CaptiveAddress): string {
  const port = "port" in address ? address.port : "vsock" in address ? address.vsock : "";
  const { exportName, tls, tlsCertificates = "", tlsPsk = "" } = options;
  const variables = [
    `uri=${quote(uriOf(address, options))}`,
    'nbd="$uri"',
    `exportname=${quote(exportName)}`,
    ...(tls === undefined ? [] : [`tls=${tls === "require" ? 2 : 1}`]),
    `tls_certificates=${quote(tlsCertificates)}`,
    `tls_psk=${quote(tlsPsk)}`,
    `port=${quote(String(port))}`,
    `unixsocket=${quote("unix" in address ? address.unix : "")}`,
  ];
  return variables.join("\n") + "\n";
}

/** The processes that `pid` started, and theirs. */
function descendants(pid: number): number[] {
  let text = "";
  try {
    text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  } catch {
    // It has ended, or this kernel does not tell: the command itself is still asked.
  }
  const children = text.split(" ").filter(Boolean).map(Number);
  return children.flatMap((child) => [...descendants(child), child]);
}
