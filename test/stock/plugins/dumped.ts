/** The output of `--dump-plugin` for a genuine plugin. */
import { run } from "#test/server";

import { type CommandCase, type CommandSide, stockCommand } from "../stock.ts";

/** The exit code, and the lines without the module's path and those that match. */
export async function dumped(
  { command, env }: CommandSide,
  without = /^path=/,
): Promise<{ code: number; lines: string[] }> {
  const { code, stdout } = await run(command, { env });
  const lines = stdout.trimEnd().split("\n");
  return { code, lines: lines.filter((line) => !line.startsWith("path=") && !without.test(line)) };
}

/** The lines of `dumped` from words: `pread` is the line `has_pread=1`. */
export const lines = (words: string): string[] =>
  words
    .trim()
    .split(/\s+/)
    .map((word) => (word.includes("=") ? word : `has_${word}=1`));

/** The plugin prints these lines, given as words for `lines`. */
export function dumps(plugin: string, words: string, more: Partial<CommandCase> = {}): void {
  stockCommand(`${plugin} prints its fields with --dump-plugin`, {
    options: ["--dump-plugin"],
    plugin,
    see: (side) => dumped(side),
    expected: { code: 0, lines: lines(words) },
    ...more,
  });
}
