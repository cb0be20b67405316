/** Writes the options of src/cli/options.ts into the completions for bash and zsh. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { options, type OptionSpec, spellings } from "../src/cli/options.ts";

export const completions = ["nbdkit.bash", "_nbdkit"];

const start = "# --- begin: written by `npm run completions` from src/cli/options.ts\n";
const end = "# --- end\n";

export function pathOf(completion: string): string {
  return join(import.meta.dirname, "../completions", completion);
}

/** The text of the file with the current options between the two marks. */
export function withOptions(completion: string): string {
  const text = readFileSync(pathOf(completion), "utf8");
  const [before, rest] = text.split(start);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined) throw new Error(`${completion}: no marks`);
  return before + start + valuesOfOptions() + end + after;
}

/** A function for both shells. */
function valuesOfOptions(): string {
  const cases = options
    .filter(({ value }) => value !== undefined)
    .map((option) => `    ${spellings(option).join(" | ")}) takes='${valueOf(option)}' ;;\n`);
  return [
    "# Sets takes to what the value of the option $1 may be: a kind of names, a colon, and words.\n",
    "# Fails if the option takes no value.\n",
    "_nbdkit_takes() {\n",
    "  case $1 in\n",
    ...cases,
    "    *) return 1 ;;\n",
    "  esac\n",
    "}\n",
  ].join("");
}

function valueOf({ completes, words = [] }: OptionSpec): string {
  return `${completes ?? ""}:${words.join(" ")}`;
}

if (import.meta.main) {
  for (const name of completions) writeFileSync(pathOf(name), withOptions(name));
}
