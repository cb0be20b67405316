/** What `--dump-plugin` says of a genuine plugin. */
import { run } from "#test/server";

import type { CommandSide } from "../stock.ts";

/** The lines but for the module's path and those that match, and the exit code. */
export async function dumped(
  { command, env }: CommandSide,
  without = /^path=/,
): Promise<{ code: number; lines: string[] }> {
  const { code, stdout } = await run(command, { env });
  const lines = stdout.trimEnd().split("\n");
  return { code, lines: lines.filter((line) => !line.startsWith("path=") && !without.test(line)) };
}
