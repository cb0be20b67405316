/** Splits the command line into options and operands, by the rules of getopt_long(3), with commander. */
import { Command, CommanderError, Option } from "commander";

import { didYouMean } from "../lib/near.ts";
import { display, longNames, options, type OptionSpec } from "./options.ts";

/** One option as it was given. */
export interface GivenOption {
  readonly option: OptionSpec;
  /** "" if the option takes no value. */
  readonly value: string;
}

export interface Arguments {
  /** In the order of the command line. */
  readonly options: readonly GivenOption[];
  /** The arguments that are not options: the plugin and its parameters. */
  readonly operands: readonly string[];
  /** Why the command line is invalid. `options` has the options before the error. */
  readonly problem?: string;
}

export function splitArguments(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Arguments {
  const given: GivenOption[] = [];
  const program = makeProgram();
  // getopt(3): with this variable the first operand ends the options.
  program.passThroughOptions(environment["POSIXLY_CORRECT"] !== undefined);
  for (const option of options) {
    for (const name of longNames(option)) listen(program, name, option, given);
  }
  try {
    for (const [name, candidates] of unknownNames(argv)) {
      const [option] = candidates;
      if (option !== undefined && candidates.length === 1) {
        program.addOption(nameless(flags(`--${name}`, option)));
        listen(program, name, option, given);
      } else {
        // The option takes a value, so that `--d=1` also gets here.
        program.addOption(nameless(`--${name} [value]`));
        program.on(`option:${name}`, () => refuseName(program, name, candidates));
      }
    }
    for (const letter of unknownLetters(argv)) {
      const option = nameless(`-${letter} [value]`);
      program.addOption(option);
      program.on(`option:${option.name()}`, () => program.error(`unknown option '-${letter}'`));
    }
    program.parse(argv, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return { options: given, operands: [], problem: problemOf(error.message) };
  }
  return { options: given, operands: program.args };
}

/** Commander rejects a value for an option without one as an unknown name, and suggests similar names. */
function problemOf(message: string): string {
  const text = message.replace(/^error: /, "").replaceAll("\n", " ");
  const known = /^unknown option '(--[^=]+)=.*\(Did you mean \1\?\)$/.exec(text)?.[1];
  return known === undefined ? text : `option '${known}' takes no value`;
}

/** The text of `nbdkit --help`, which a usage error prints too. */
export function usage(): string {
  return (
    makeProgram().helpInformation() +
    "\nEvery argument after the plugin that is not an option is a parameter of the plugin or a filter.\n" +
    "A value without a key sets the plugin's main parameter, and @PATH stands for the parameters in that file.\n" +
    "\nThe manual of nbdkit(1) describes the options in full.\n"
  );
}

function makeProgram(): Command {
  const program = new Command("nbdkit")
    .usage("[OPTION ...] PLUGIN [[KEY=]VALUE | @PATH ...]")
    .helpOption(false)
    .argument("[operands...]")
    .configureOutput({ writeErr: () => {}, getOutHelpWidth: () => 80 })
    .configureHelp({ visibleArguments: () => [] })
    .exitOverride();
  for (const option of options) {
    for (const name of longNames(option)) {
      const main = name === option.name;
      const letter = main && option.letter !== undefined ? `-${option.letter}, ` : "";
      const entry = new Option(flags(`${letter}--${name}`, option), option.help);
      program.addOption(entry.hideHelp(!main));
    }
  }
  return program;
}

function flags(names: string, { value }: OptionSpec): string {
  return value === undefined ? names : `${names} <${value}>`;
}

/** Commander makes a property name from the flag, which fails if the flag ends in a dash. */
function nameless(text: string): Option {
  return Object.assign(new Option(text), { attributeName: () => "nameless" });
}

function listen(program: Command, name: string, option: OptionSpec, given: GivenOption[]): void {
  program.on(`option:${name}`, (value: unknown) => {
    given.push({ option, value: typeof value === "string" ? value : "" });
  });
}

/**
 * Arguments that look like a long option but are not one, with the options that they may abbreviate.
 * Commander continues after an unknown option, but getopt_long(3) stops there, so each such name
 * becomes an option that refuses itself. An argument that turns out to be a value (`--run --thr`)
 * does no harm: no code looks its name up.
 */
function unknownNames(argv: readonly string[]): Map<string, readonly OptionSpec[]> {
  const found = new Map<string, readonly OptionSpec[]>();
  for (const argument of argv) {
    const name = /^--([a-zA-Z0-9_][\w-]*)(?:=|$)/s.exec(argument)?.[1];
    if (name === undefined || options.some((option) => longNames(option).includes(name))) continue;
    const all = options.filter((option) => longNames(option).some((long) => long.startsWith(name)));
    const nbdkits = all.filter((option) => option.ours === undefined);
    found.set(name, nbdkits.length > 0 ? nbdkits : all);
  }
  return found;
}

function refuseName(program: Command, name: string, candidates: readonly OptionSpec[]): never {
  if (candidates.length === 0) {
    const near = didYouMean(name, options.flatMap(longNames), (long) => `--${long}`);
    program.error(`unknown option '--${name}'${near}`);
  }
  const meanings = candidates.map(display).join(", ");
  program.error(`option '--${name}' is ambiguous: it may mean ${meanings}`);
}

/** The same for letters. One argument may have several. */
function unknownLetters(argv: readonly string[]): ReadonlySet<string> {
  const clusters = argv.filter((text) => /^-[^-]/.test(text)).map((text) => text.slice(1));
  const letters = new Set(clusters.join("").replaceAll(/[^0-9a-zA-Z?]/g, ""));
  for (const { letter } of options) if (letter !== undefined) letters.delete(letter);
  return letters;
}
