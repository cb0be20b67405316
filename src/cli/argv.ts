/** The arguments as the kernel has them. Bun drops a leading `--`, and damages bytes that are not UTF-8. */
import { readFileSync } from "node:fs";

import { splitWords } from "../lib/environment.ts";

/** The arguments after the program's own name. */
export function programArguments(): readonly string[] {
  return restored(process.argv.slice(2), wordsOfProcess());
}

/** Bun's arguments `plain`, corrected by the end of the process's own `words`. */
export function restored(plain: readonly string[], words: readonly string[]): readonly string[] {
  if (words.length <= plain.length) return plain;
  const start = words.length - plain.length;
  return words.slice(words[start - 1] === "--" ? start - 1 : start);
}

function wordsOfProcess(): readonly string[] {
  try {
    return splitWords(readFileSync("/proc/self/cmdline"));
  } catch {
    // Without /proc, use Bun's copy, which is nearly always right.
    return [];
  }
}
