/** The words of the command line as the kernel has them: Bun drops a `--` in front, and damages what is not UTF-8. */
import { readFileSync } from "node:fs";

import { splitWords } from "../lib/environment.ts";

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
