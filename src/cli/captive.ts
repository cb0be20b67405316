/** The command of --run: a shell beside the server, that is told where the server is. */
import { readFileSync } from "node:fs";

import { log } from "../lib/log.ts";

/** What the command is told. */
export interface CaptiveAddress {
  readonly address: { readonly unix: string } | { readonly port: number };
  /** The address given with -i. */
  readonly host?: string | undefined;
  readonly exportName: string;
}

export interface CaptiveCommand {
  /** The exit status, or 128 + the number of the signal that killed it. */
  readonly status: Promise<number>;
  /** Ask it, and what it started, to end. Does nothing once it has ended. */
  terminate(): void;
}

/** nbdkit-captive(1). The command has this process's stdin, stdout and stderr. */
export function startCommand(text: string, where: CaptiveAddress): CaptiveCommand {
  const script = shellVariables(where) + text;
  const child = Bun.spawn(["/bin/sh", "-c", script], {
    stdio: ["inherit", "inherit", "inherit"],
  });
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
  return { status, terminate };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It ended in this moment.
    log.debug(`${name} to process ${pid} of the command: ${String(error)}`);
  }
}

/** Variables of the shell, not exported, in front of the user's text. */
export function shellVariables({ address, host, exportName }: CaptiveAddress): string {
  const [port, socket] = "unix" in address ? ["", address.unix] : [String(address.port), ""];
  const variables = [
    `uri=${quote(uriOf({ address, host, exportName }))}`,
    'nbd="$uri"',
    `exportname=${quote(exportName)}`,
    `port=${quote(port)}`,
    `unixsocket=${quote(socket)}`,
  ];
  return variables.join("\n") + "\n";
}

/** The NBD URI of the server. */
export function uriOf({ address, host, exportName }: CaptiveAddress): string {
  const path = exportName === "" ? "" : `/${percentEncode(exportName)}`;
  return "unix" in address
    ? `nbd+unix://${path}?socket=${percentEncode(address.unix)}`
    : `nbd://${hostOf(host)}:${address.port}${path}`;
}

/** Clients on this machine reach all but a particular address as localhost. */
function hostOf(host: string | undefined): string {
  if (host === undefined || /^(localhost|127\.0\.0\.1|0\.0\.0\.0|::1?)$/.test(host)) {
    return "localhost";
  }
  return host.includes(":") ? `[${host}]` : host;
}

/** Everything but unreserved characters and /. */
function percentEncode(text: string): string {
  return encodeURIComponent(text)
    .replaceAll("%2F", "/")
    .replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
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
