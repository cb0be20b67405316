/** Converts the arguments after the plugin to pairs of keys and values. */
import { ConfigError } from "../lib/errors.ts";
import { expandParameterFiles } from "./parameter-files.ts";

export type Parameter = readonly [key: string, value: string];

/**
 * nbdkit(1), "PLUGIN CONFIGURATION": `key=value` where the part before the first = is a key. Any
 * other argument is the value of the plugin's main parameter; for a plugin that has none, it is
 * the name of a script if it is the first argument. `@PATH` stands for the lines of a file.
 */
export function parseParameters(
  argv: readonly string[],
  magicKey: string | undefined,
): readonly Parameter[] {
  return expandParameterFiles(argv).map(({ text, where }, index): Parameter => {
    const match = /^([A-Za-z][A-Za-z0-9._-]*)=(.*)$/s.exec(text);
    if (match?.[1] !== undefined) return [match[1], match[2] ?? ""];
    if (magicKey !== undefined) return [magicKey, text];
    if (index === 0) return ["script", text];
    const place = where === "" ? "on the command line " : "";
    throw new ConfigError(`${where}expecting key=value ${place}but got: ${text}`);
  });
}
