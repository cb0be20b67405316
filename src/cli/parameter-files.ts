/** Parameters from files: nbdkit(1), "@PATH". */
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";

import { ConfigError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { absolutePath } from "../lib/paths.ts";
import { filePath, textOf } from "../lib/text-bytes.ts";
import { messageOf } from "../lib/thrown.ts";

/** A parameter as it was written. */
export interface Argument {
  readonly text: string;
  /** `FILE:LINE: ` if it comes from a file, for messages. */
  readonly where: string;
}

/** A file that is being read, and the file that names it. */
interface Reading {
  readonly path: string;
  /** Its device and inode. */
  readonly identity: string;
  readonly parent: Reading | undefined;
}

/** Replaces each argument `@PATH` that contains a `/` by the lines of the file. */
export function expandParameterFiles(argv: readonly string[]): readonly Argument[] {
  return argv.flatMap((text) => expand({ text, where: "" }, undefined));
}

function expand(argument: Argument, parent: Reading | undefined): readonly Argument[] {
  if (!/^@.*\//s.test(argument.text)) return [argument];
  const name = argument.text.slice(1);
  const path =
    name.startsWith("/") || parent === undefined
      ? absolutePath(name)
      : parent.path.replace(/[^/]*$/, "") + name;
  log.debug(`opening @${path}`);
  const { identity, text } = read(path, argument.where);
  for (let file = parent; file !== undefined; file = file.parent) {
    if (file.identity !== identity) continue;
    throw new ConfigError(`${argument.where}@${path}: the file includes itself`);
  }
  const here = { path, identity, parent };
  return text.split("\n").flatMap((line, index) => {
    if (/^\s*(#|$)/.test(line)) return [];
    const where = `${path}:${index + 1}: `;
    // A C string would end there and hide the rest of the line.
    if (line.includes("\0")) throw new ConfigError(`${where}expected text, but there is a NUL`);
    return expand({ text: line, where }, here);
  });
}

function read(path: string, where: string): { readonly identity: string; readonly text: string } {
  try {
    const fd = openSync(filePath(path), "r");
    try {
      const { dev, ino } = fstatSync(fd, { bigint: true });
      return { identity: `${dev}:${ino}`, text: textOf(readFileSync(fd)) };
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new ConfigError(`${where}cannot read parameters from @${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
