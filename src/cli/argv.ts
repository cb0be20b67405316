/** The words of the command line as the kernel has them: Bun drops a `--` in front, and damages what is not UTF-8. */
import { readFileSync } from "node:fs";

import { textOf } from "../lib/text-bytes.ts";

/** The arguments after the program's own name. */
export function programArguments(): readonly string[] {
  return restored(process.argv.slice(2), wordsOfProcess());
}

/** `plain` as Bun has it, with what the end of all `words` of the process tells better. */
export function restored(plain: readonly string[], words: readonly string[]): readonly string[] {
  if (words.length <= plain.length) return plain;
  const start = words.length - plain.length;
  return words.slice(words[start - 1] === "--" ? start - 1 : start);
}

function wordsOfProcess(): readonly string[] {
  try {
    return splitWords(readFileSync("/proc/self/cmdline"));
  } catch {
    // No /proc: what Bun says is nearly always right.
    return [];
  }
}

/** Each word ends with a NUL. */
export function splitWords(bytes: Uint8Array): readonly string[] {
  const words: string[] = [];
  for (let from = 0; from < bytes.length;) {
    const end = bytes.indexOf(0, from);
    const to = end < 0 ? bytes.length : end;
    words.push(textOf(bytes.subarray(from, to)));
    from = to + 1;
  }
  return words;
}
