/** The arguments as the kernel has them. Bun drops a leading `--`, and damages bytes that are not UTF-8. */
import { readFileSync } from "node:fs";

import { splitWords } from "../lib/environment.ts";

/** The arguments after the program's own name. */
export function programArguments(): readonly string[] {
  return restored(process.argv.slice(2), wholeCommandLine());
}

/** Bun's arguments `plain`, corrected by the end of the process's whole command line `all`. */
export function restored(plain: readonly string[], all: readonly string[]): readonly string[] {
  if (all.length <= plain.length) return plain;
  const start = all.length - plain.length;
  return all.slice(all[start - 1] === "--" ? start - 1 : start);
}

function wholeCommandLine(): readonly string[] {
  try {
    return splitWords(readFileSync("/proc/self/cmdline"));
  } catch {
    // Without /proc, use Bun's copy, which is nearly always right.
    return [];
  }
}
