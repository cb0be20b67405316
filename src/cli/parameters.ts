/** Makes pairs of keys and values of the words after the plugin. */
import { ConfigError } from "../api/errors.ts";

export type Parameter = readonly [key: string, value: string];

/**
 * nbdkit(1), "PLUGIN CONFIGURATION": `key=value` where the part before the first = is a key. Any other
 * word is the value of the plugin's main parameter; for a plugin that has none, the first such word
 * is the name of a script if it comes before all else.
 */
export function parseParameters(
  words: readonly string[],
  magicKey: string | undefined,
): readonly Parameter[] {
  return words.map((word, index): Parameter => {
    const match = /^([A-Za-z][A-Za-z0-9._-]*)=(.*)$/s.exec(word);
    if (match?.[1] !== undefined) return [match[1], match[2] ?? ""];
    if (magicKey !== undefined) return [magicKey, word];
    if (index === 0) return ["script", word];
    throw new ConfigError(`expecting key=value on the command line but got: ${word}`);
  });
}
