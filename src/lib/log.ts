/** Error and debug lines, in nbdkit's format. Every line is one write, so that C's lines keep their order. */
import { writeSync } from "node:fs";
import { isatty } from "node:tty";

import { printable, withoutControls } from "./quoted.ts";
import { bytesOf } from "./text-bytes.ts";

export interface Log {
  /** -v was given. */
  verbose: boolean;
  /** --name: what all lines, those of C modules included, call this server: `nbdkit[NAME]`. */
  serverName: string | undefined;
  /** `name` says where it came from: `file[3]`, or nothing outside connections. */
  error(message: string, name?: string): void;
  debug(message: string, name?: string): void;
  /** The same, said by a module: on a terminal it stands out. */
  moduleDebug(message: string, name?: string): void;
  /** Something is wrong that does not keep the server from doing what it was asked for. */
  warning(message: string): void;
  /** Something that the user waits for, or wants to know. */
  notice(message: string): void;
  /** `-D nbdkit.backend.controlpath`: whether debug lines tell of layers being opened, asked and closed. */
  controlpath: boolean;
  /** `-D nbdkit.backend.datapath`: whether debug lines tell of layers being read and written. */
  datapath: boolean;
  /** `-D nbdkit.tls.session`: whether debug lines tell all about each session. */
  tlsSession: boolean;
  /** `-D nbdkit.tls.log`: up to which level debug lines tell what GnuTLS does, 0 to 99. */
  tlsLevel: number;
}

/** Where error lines go, of C modules too. Debug lines go to stderr always. */
export type ErrorTarget =
  | { readonly fd: number }
  /** Takes a message without the program's name, and without saying that it is an error. */
  | { readonly systemLog: (message: string) => void }
  | "nowhere";

let target: ErrorTarget = { fd: 2 };
const watchers: ((target: ErrorTarget) => void)[] = [];

export function sendErrorsTo(next: ErrorTarget): void {
  target = next;
  for (const watcher of watchers) watcher(next);
}

/** `watcher` is told now, and at every change. */
export function watchErrorTarget(watcher: (target: ErrorTarget) => void): void {
  watchers.push(watcher);
  watcher(target);
}

/** Whether a page may be written to `fd` without waiting, now or within some milliseconds. */
export type HasRoom = (fd: number, waitMs: number) => boolean;

let hasRoom: HasRoom = () => true;

/** How it can be known that nobody reads the log. Until then lines are written as they come. */
export function askForRoom(ask: HasRoom): void {
  hasRoom = (fd, waitMs) => {
    try {
      return ask(fd, waitMs);
    } catch {
      // What is wrong is going to be logged, perhaps just this.
      return true;
    }
  };
}

/** What each line begins with. A name from the command line must not begin a line of its own. */
function program(): string {
  return log.serverName === undefined ? "nbdkit" : `nbdkit[${printable(log.serverName)}]`;
}

/** The least that a pipe takes without waiting where it takes anything. */
const pageBytes = 4096;
/** Whoever reads the log may be busy. Clients wait meanwhile, so that it is not waited for again and again. */
const patienceMs = 2000;
/** Lines that nobody took, by descriptor. */
const lost = new Map<number, number>();

/** What goes before and behind a line on a terminal: errors are red, and what modules say is bold. */
const bold = ["\x1b[1m", "\x1b[0m"] as const;
const red = ["\x1b[1;31m", "\x1b[0m"] as const;
const plain = ["", ""] as const;

function writeLine(fd: number, text: string, style: readonly [string, string] = plain): void {
  const [start, end] = style !== plain && isatty(fd) ? style : plain;
  writeOrLose(fd, bytesOf(`${start}${program()}: ${text}\n${end}`));
}

/** Write to stderr what a module prints, as it is. */
export function printToStderr(bytes: Uint8Array): void {
  writeOrLose(2, bytes);
}

/** Where lines were lost that are not reported yet, the reader has to be back first. */
function writeOrLose(fd: number, bytes: Uint8Array): void {
  const before = lost.get(fd) ?? 0;
  if (before > 0) {
    if (!hasRoom(fd, 0)) return void lost.set(fd, before + 1);
    lost.delete(fd);
    // In front of it: the end of a line that was written in part.
    const words = `${before} line(s) of the log are lost, since nobody read it`;
    write(fd, bytesOf(`\n${program()}: warning: ${words}\n`));
  }
  write(fd, bytes);
}

function write(fd: number, line: Uint8Array): void {
  for (let at = 0; at < line.length;) {
    if (!hasRoom(fd, patienceMs)) return void lost.set(fd, (lost.get(fd) ?? 0) + 1);
    try {
      at += writeSync(fd, line, at, Math.min(line.length - at, pageBytes));
    } catch (error) {
      // Somebody else was faster, where writes do not wait. Anything else: nobody can be told.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return;
    }
  }
}

function prefixOf(name: string | undefined): string {
  return name === undefined || name === "" ? "" : `${name}: `;
}

/**
 * A message may have lines of its own, but does nothing else to a terminal: as abi/runtime/log.c does. Where a client
 * may have put them there, they look like no other message.
 */
function report(kind: "error" | "warning" | "", message: string, name?: string): void {
  if (target === "nowhere") return;
  const from = prefixOf(name);
  const style = kind === "error" ? red : plain;
  const lines = withoutControls(message, "\n\t");
  const text = from === "" ? lines : lines.replaceAll(/\n(?=.)/gs, "\n  ");
  const whole = from + prefixOf(kind) + text;
  if ("fd" in target) writeLine(target.fd, whole, style);
  else target.systemLog(kind === "error" ? from + text : whole);
}

export const log: Log = {
  verbose: false,
  serverName: undefined,
  controlpath: true,
  datapath: true,
  tlsSession: false,
  tlsLevel: 0,
  error(message, name) {
    report("error", message, name);
  },
  debug(message, name) {
    if (log.verbose) writeLine(2, `${prefixOf(name)}debug: ${printable(message)}`);
  },
  moduleDebug(message, name) {
    if (log.verbose) writeLine(2, `${prefixOf(name)}debug: ${printable(message)}`, bold);
  },
  warning(message) {
    report("warning", message);
  },
  notice(message) {
    report("", message);
  },
};
