/** Environment variables as the kernel has them. Bun damages bytes that are not UTF-8. */
import { readFileSync } from "node:fs";

import { textOf } from "./text-bytes.ts";

/** The value of the variable; undefined if it is not set. */
export function environmentVariable(name: string): string | undefined {
  const value = process.env[name];
  if (value === undefined || !value.includes("\ufffd")) return value;
  const words = initialEnvironment().filter((word) => word.startsWith(`${name}=`));
  return words[0]?.slice(name.length + 1) ?? value;
}

/** The environment that the process was started with, as `NAME=VALUE` strings. */
export function initialEnvironment(): readonly string[] {
  try {
    return splitWords(readFileSync("/proc/self/environ"));
  } catch {
    // Without /proc, use Bun's copy, which is nearly always right.
    return [];
  }
}

/** Split strings that each end with a NUL, as in /proc. */
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
