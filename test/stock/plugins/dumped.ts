/** What `--dump-plugin` says of a genuine plugin. */
import { run } from "#test/server";

import { type CommandCase, type CommandSide, stockCommand } from "../stock.ts";

/** The lines but for the module's path and those that match, and the exit code. */
export async function dumped(
  { command, env }: CommandSide,
  without = /^path=/,
): Promise<{ code: number; lines: string[] }> {
  const { code, stdout } = await run(command, { env });
  const lines = stdout.trimEnd().split("\n");
  return { code, lines: lines.filter((line) => !line.startsWith("path=") && !without.test(line)) };
}

/** The lines of `dumped`, as words: `pread` is the line `has_pread=1`. */
export const lines = (words: string): string[] =>
  words
    .trim()
    .split(/\s+/)
    .map((word) => (word.includes("=") ? word : `has_${word}=1`));

/** The plugin tells these lines, as `lines` takes them. */
export function tells(
  plugin: string,
  words: string,
  { what = "it has", ...more }: Partial<CommandCase> & { readonly what?: string } = {},
): void {
  stockCommand(`${plugin} tells what ${what}`, {
    options: ["--dump-plugin"],
    plugin,
    see: (side) => dumped(side),
    expected: { code: 0, lines: lines(words) },
    ...more,
  });
}
