/** Error and debug lines, in nbdkit's format. Every line is one write, so that C's lines keep their order. */
import { writeSync } from "node:fs";
import { isatty } from "node:tty";

import { logPatienceMs } from "./limits.ts";
import { printable, withoutControls } from "./quoted.ts";
import { bytesOf } from "./text-bytes.ts";

export interface Log {
  /** -v was given. */
  verbose: boolean;
  /** --name: the name of this server in all lines, including those of C modules: `nbdkit[NAME]`. */
  serverName: string | undefined;
  /** `name` is the source of the line: `file[3]`, or empty outside connections. */
  error(message: string, name?: string): void;
  debug(message: string, name?: string): void;
  /** The same for a message of a module, which stands out on a terminal. */
  moduleDebug(message: string, name?: string): void;
  /** A problem that does not prevent the server from working as requested. */
  warning(message: string): void;
  /** Information that the user waits for or wants to know. */
  notice(message: string): void;
  /** `-D nbdkit.backend.controlpath`: whether to log the opening, queries and closing of layers. */
  controlpath: boolean;
  /** `-D nbdkit.backend.datapath`: whether to log reads and writes of layers. */
  datapath: boolean;
  /** `-D nbdkit.tls.session`: whether to log the details of each session. */
  tlsSession: boolean;
  /** `-D nbdkit.tls.log`: the highest level of GnuTLS's messages that is logged, 0 to 99. */
  tlsLevel: number;
}

/** The destination of error lines, including those of C modules. Debug lines always go to stderr. */
export type ErrorTarget =
  | { readonly fd: number }
  /** Gets the message without the program's name and without `error:`. */
  | { readonly systemLog: (message: string) => void }
  | "nowhere";

let target: ErrorTarget = { fd: 2 };
const watchers: ((target: ErrorTarget) => void)[] = [];

export function sendErrorsTo(next: ErrorTarget): void {
  target = next;
  for (const watcher of watchers) watcher(next);
}

/** Call `watcher` now and at every change. */
export function watchErrorTarget(watcher: (target: ErrorTarget) => void): void {
  watchers.push(watcher);
  watcher(target);
}

/** Whether `fd` accepts a page without blocking, now or within some milliseconds. */
export type HasRoom = (fd: number, waitMs: number) => boolean;

let hasRoom: HasRoom = () => true;

/** Detects that the reader of the log has stopped reading. Until it is set, lines are written as they come. */
export function askForRoom(ask: HasRoom): void {
  hasRoom = (fd, waitMs) => {
    try {
      return ask(fd, waitMs);
    } catch {
      // The error is about to be logged; it may be this one.
      return true;
    }
  };
}

/** The start of each line. A name from the command line must not start a line of its own. */
function program(): string {
  return log.serverName === undefined ? "nbdkit" : `nbdkit[${printable(log.serverName)}]`;
}

/** A pipe that accepts anything without blocking accepts at least this many bytes. */
const pageBytes = 4096;
/** The number of lines that could not be written, by descriptor. */
const lost = new Map<number, number>();

/** The escapes before and after a line on a terminal: errors are red, messages of modules are bold. */
const bold = ["\x1b[1m", "\x1b[0m"] as const;
const red = ["\x1b[1;31m", "\x1b[0m"] as const;
const plain = ["", ""] as const;

function writeLine(fd: number, text: string, style: readonly [string, string] = plain): void {
  const [start, end] = style !== plain && isatty(fd) ? style : plain;
  writeOrLose(fd, bytesOf(`${start}${program()}: ${text}\n${end}`));
}

/** Write a module's output to stderr unchanged. */
export function printToStderr(bytes: Uint8Array): void {
  writeOrLose(2, bytes);
}

/** While lost lines are not yet reported, the reader must return first. */
function writeOrLose(fd: number, bytes: Uint8Array): void {
  const before = lost.get(fd) ?? 0;
  if (before > 0) {
    if (!hasRoom(fd, 0)) return void lost.set(fd, before + 1);
    lost.delete(fd);
    // First complete a line that was written in part.
    const words = `${before} line(s) of the log were lost, because it was not read`;
    write(fd, bytesOf(`\n${program()}: warning: ${words}\n`));
  }
  write(fd, bytes);
}

function write(fd: number, line: Uint8Array): void {
  for (let at = 0; at < line.length;) {
    if (!hasRoom(fd, logPatienceMs)) return void lost.set(fd, (lost.get(fd) ?? 0) + 1);
    try {
      at += writeSync(fd, line, at, Math.min(line.length - at, pageBytes));
    } catch (error) {
      // EAGAIN: another writer filled the pipe first. Other errors cannot be reported anywhere.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return;
    }
  }
}

function prefixOf(name: string | undefined): string {
  return name === undefined || name === "" ? "" : `${name}: `;
}

/**
 * A message may contain newlines but no other control characters, as in abi/runtime/log.c. If a
 * client may have supplied the newlines, further lines are indented, so that they cannot imitate
 * another message.
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
