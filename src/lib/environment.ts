/** The variables of the environment as the kernel has them: Bun damages what is not UTF-8. */
import { readFileSync } from "node:fs";

import { textOf } from "./text-bytes.ts";

/** The value of the variable; undefined where it is not set. */
export function environmentVariable(name: string): string | undefined {
  const value = process.env[name];
  if (value === undefined || !value.includes("\ufffd")) return value;
  const words = initialEnvironment().filter((word) => word.startsWith(`${name}=`));
  return words[0]?.slice(name.length + 1) ?? value;
}

/** As the process was given it: `NAME=VALUE` each. */
export function initialEnvironment(): readonly string[] {
  try {
    return splitWords(readFileSync("/proc/self/environ"));
  } catch {
    // No /proc: what Bun says is nearly always right.
    return [];
  }
}

/** Words of which each ends with a NUL, as /proc has them. */
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
