/** Sends modules' output to stderr: stdout belongs to the server, to the command of --run, or to the client of -s. */
import { Writable } from "node:stream";
/* oxlint-disable no-console -- this file redirects it */

import { printToStderr } from "../lib/log.ts";
import { bytesOf } from "../lib/text-bytes.ts";

/** The methods of Bun's console that write to stdout, and those that share its indentation. */
const methods = [
  "assert",
  "count",
  "countReset",
  "debug",
  "dir",
  "dirxml",
  "error",
  "group",
  "groupCollapsed",
  "groupEnd",
  "info",
  "log",
  "table",
  "time",
  "timeEnd",
  "timeLog",
  "warn",
] as const;

/** `console` writes to stderr from now on, on this thread. */
export function sendConsoleToStderr(): void {
  let made: Pick<Console, (typeof methods)[number]> | undefined;
  // Created on first use, since that takes some milliseconds. It does not buffer: the server may end at once.
  const printer = () => (made ??= new console.Console({ stdout: stderr(), colorMode: false }));
  for (const method of methods) {
    console[method] = (...args: unknown[]) => {
      Reflect.apply(printer()[method], undefined, args);
    };
  }
  console.trace = (...args: unknown[]) => {
    printer().log("Trace:", ...args, new Error("trace").stack?.replace(/^.*\n.*\n/, "\n") ?? "");
  };
  console.write = (...parts) => {
    const bytes = Buffer.concat(parts.map((part) => Buffer.from(part as Uint8Array)));
    printToStderr(bytes);
    return bytes.length;
  };
}

/** `process.stdout` is stderr from now on, on this thread. */
export function sendStdoutToStderr(): void {
  // Opened on use: Bun's stream keeps a descriptor, and a daemon would keep the terminal open.
  Object.defineProperty(process, "stdout", { get: () => process.stderr, configurable: true });
}

function stderr(): Writable {
  return new Writable({
    decodeStrings: false,
    write(chunk: Uint8Array | string, _encoding, done) {
      printToStderr(typeof chunk === "string" ? bytesOf(chunk) : chunk);
      done();
    },
  });
}
