/** Parses options of the command line without starting a server. */
import { parseCommandLine } from "../../src/cli/command-line.ts";
import type { Settings } from "../../src/cli/settings.ts";

export function settingsOf(...argv: string[]): Settings {
  const line = parseCommandLine(argv);
  if (line.kind !== "load") throw new Error(`${argv.join(" ")}: nothing is loaded: ${line.kind}`);
  return line.settings;
}

/** The defaults of all options. */
export const defaults = settingsOf("null");
