/** Shell scripts with any bytes, for what Bun cannot start: its words are UTF-8. */
import { writeFileSync } from "node:fs";

import { bytesOf } from "#lib/text-bytes";

import { program, type Ran, run, type RunOptions } from "./server.ts";

/** The word in quotes. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** The words as one command for a shell. */
export function shellCommand(words: readonly string[]): string {
  return words.map(quote).join(" ");
}

/** What defines `nbdkit` in a script; by default it is this project's server. */
export function nbdkitFunction(server: readonly string[] = program): string {
  return `nbdkit() { /usr/bin/timeout 30 ${shellCommand(server)} "$@"; }\n`;
}

/** Run the script, which is put into `file`. `[E9]` in it, or any other number of two digits, is that byte. */
export function runScript(script: string, file: string, options?: RunOptions): Promise<Ran> {
  writeFileSync(file, bytesOf(withBytes(script)));
  return run(["sh", file], options);
}

/** In ASCII, as all else would be: of String.raw with other characters, Bun makes something else. */
function withBytes(text: string): string {
  return text.replaceAll(/\[([0-9A-F]{2})\]/g, (_, digits: string) => {
    const byte = Number.parseInt(digits, 16);
    return String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte);
  });
}
