/** Error and debug lines on stderr, in nbdkit's format. Every line is one write, so that C's lines keep their order. */
import { writeSync } from "node:fs";

export interface Log {
  /** -v was given. */
  verbose: boolean;
  /** `name` says where it came from: `file[3]`, or nothing outside connections. */
  error(message: string, name?: string): void;
  debug(message: string, name?: string): void;
  /** Something is wrong that does not keep the server from doing what it was asked for. */
  warning(message: string): void;
  /** `-D nbdkit.backend.controlpath`: whether debug lines tell of layers being opened, asked and closed. */
  controlpath: boolean;
  /** `-D nbdkit.backend.datapath`: whether debug lines tell of layers being read and written. */
  datapath: boolean;
}

const program = "nbdkit";

function write(
  kind: "debug" | "error" | "warning",
  message: string,
  name: string | undefined,
): void {
  const from = name === undefined || name === "" ? "" : `${name}: `;
  const line = Buffer.from(`${program}: ${from}${kind}: ${message}\n`);
  for (let at = 0; at < line.length;) {
    try {
      at += writeSync(2, line, at);
    } catch (error) {
      // A full pipe: try again, as a C program's blocking write would wait. Anything else: nobody can be told.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return;
    }
  }
}

export const log: Log = {
  verbose: false,
  controlpath: true,
  datapath: true,
  error(message, name) {
    write("error", message, name);
  },
  debug(message, name) {
    if (log.verbose) write("debug", message, name);
  },
  warning(message) {
    write("warning", message, undefined);
  },
};
