/** Converts the command line to settings, and refuses conflicting options. */
import { ConfigError } from "../lib/errors.ts";
import { quoted } from "../lib/quoted.ts";
import { type GivenOption, splitArguments } from "./arguments.ts";
import type { InspectRequest } from "./inspect.ts";
import { display, type OptionName, options, type OptionSpec } from "./options.ts";
import { placesOf } from "./places.ts";
import type { Asked, Given, GivenSettings, Settings, Target } from "./settings.ts";

/** Actions that print something without loading a module. */
export type Print = "dump-config" | "help" | "long-options" | "short-options" | "version";

/** Actions after the modules are loaded. */
export type Action = "dump-plugin" | "help" | "serve" | "version";

export type CommandLine =
  /** The options are invalid: print the reason and the usage. */
  | { readonly kind: "usage"; readonly problem: string }
  | { readonly kind: "print"; readonly what: Print }
  | {
      readonly kind: "inspect";
      readonly request: InspectRequest;
      readonly warnings: readonly string[];
    }
  | {
      readonly kind: "load";
      readonly action: Action;
      readonly settings: Settings;
      readonly warnings: readonly string[];
      /** All arguments except the plugin, options first, for a plugin that is a program. */
      readonly rest: readonly string[];
    };

/** Throws ConfigError if a value is invalid or options exclude each other. */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const { options: list, operands, problem } = splitArguments(argv);
  const values = new Values();
  for (const { option, value } of list) {
    const { name } = option;
    if (name === "dump-config" || name === "long-options" || name === "short-options") {
      return { kind: "print", what: name };
    }
    values.take(option, value);
  }
  if (problem !== undefined) return { kind: "usage", problem };
  const { asked, places, ...given } = values.given();
  const [plugin, ...parameters] = operands;
  const warnings = values.deprecations();
  if (asked.inspect)
    return { kind: "inspect", request: inspection(asked, given, operands), warnings };
  if (asked.json) throw new ConfigError("option --json: expected together with --inspect");
  const action = actionOf(asked);
  if (plugin !== undefined) {
    values.refuseConflicts();
    checkReleases(given.releases, given.filters);
    const settings: Settings = {
      ...given,
      plugin,
      parameters,
      listen: given.single ? [] : placesOf(places, given.run !== undefined),
      listenOptions: values.listenOptions(),
      foreground: isInForeground(given),
    };
    const rest = [...list.map(optionText), ...withoutOptions(parameters)];
    return { kind: "load", action, settings, warnings, rest };
  }
  if (action === "help" || action === "version") return { kind: "print", what: action };
  const hint =
    action === "dump-plugin"
      ? "nbdkit PLUGIN --dump-plugin describes a plugin, and nbdkit --dump-config the server"
      : "see `nbdkit --help` or the manual nbdkit(1)";
  throw new ConfigError(`no plugin was given on the command line: ${hint}`);
}

function actionOf({ dumpPlugin, help, version }: Asked): Action {
  if (help) return "help";
  if (version) return "version";
  return dumpPlugin ? "dump-plugin" : "serve";
}

function inspection(
  { json }: Asked,
  { filters, releases }: GivenSettings,
  [file, ...more]: readonly string[],
): InspectRequest {
  if (file === undefined || more.length > 0 || filters.length > 0) {
    throw new ConfigError(
      "option --inspect: expected one file, or the name of an installed module",
    );
  }
  checkReleases(releases, [file]);
  return { file, json, release: releases.get(file) };
}

/** The option must name a filter as --filter does; any other name would be ignored silently. */
function checkReleases(releases: GivenSettings["releases"], filters: readonly string[]): void {
  for (const [filter, { option }] of releases) {
    if (filters.includes(filter)) continue;
    const named = filters.map(quoted).join(", ");
    throw new ConfigError(
      `option ${option}: ${quoted(filter)}: expected a filter as --filter names it: ${named || "there is none"}`,
    );
  }
}

function isInForeground({ exitWithParent, foreground, run, single }: GivenSettings): boolean {
  return foreground || exitWithParent || run !== undefined || single;
}

function optionText({ option, value }: GivenOption): string {
  return option.value === undefined ? `--${option.name}` : `--${option.name}=${value}`;
}

/** Operands, preceded by -- if one of them would be treated as an option. */
function withoutOptions(operands: readonly string[]): readonly string[] {
  return operands.some((text) => text.startsWith("-")) ? ["--", ...operands] : operands;
}

/** Fills the fields of `Given`: with the defaults at first, then with the values of the options. */
class Values {
  readonly #names = new Set<OptionName>();
  readonly #fields = new Map<Target, unknown>();

  constructor() {
    for (const option of options) {
      if (option.into !== undefined) this.#fields.set(option.into, defaultOf(option));
    }
  }

  take(option: OptionSpec, value: string): void {
    const { into, means = true, name, parse } = option;
    this.#names.add(name);
    if (into === undefined) return;
    // The types of the table guarantee that the parser accepts the value of its field.
    const before = this.#fields.get(into) as never;
    this.#fields.set(into, parse === undefined ? means : parse(value, display(option), before));
  }

  given(): Given {
    const given: Partial<Record<keyof Given, unknown>> & Record<string, unknown> = {};
    for (const [target, value] of this.#fields) {
      const [field, inner] = target.split(".") as [string, string?];
      given[field] = inner === undefined ? value : { ...(given[field] as object), [inner]: value };
    }
    // The types of the table guarantee that each field has a row, whose values have the type of the field.
    return given as Given;
  }

  /** nbdkit does this once it knows all options and the plugin. */
  refuseConflicts(): void {
    for (const option of this.#givenOptions()) {
      for (const { with: name, value, reason } of option.conflicts ?? []) {
        const other = this.#givenOptions().find((one) => one.name === name);
        if (other === undefined || !this.#holds(other, value)) continue;
        const shown = value === undefined ? display(other) : `${display(other)}=${value}`;
        throw new ConfigError(
          `options ${display(option)} and ${shown} cannot be used together: ${reason}`,
        );
      }
    }
  }

  deprecations(): readonly string[] {
    return this.#givenOptions().flatMap((option) => {
      const { replacedBy } = option;
      return replacedBy === undefined
        ? []
        : `option ${display(option)} is deprecated: use --${replacedBy}`;
    });
  }

  /** The given options that say where clients connect, for messages. */
  listenOptions(): readonly string[] {
    return this.#givenOptions()
      .filter(({ listens }) => listens)
      .map(display);
  }

  #holds({ into }: OptionSpec, value: string | undefined): boolean {
    return value === undefined || (into !== undefined && this.#fields.get(into) === value);
  }

  /** In the order of the table. */
  #givenOptions(): readonly OptionSpec[] {
    return options.filter(({ name }) => this.#names.has(name));
  }
}

/** The default of a flag is the opposite of what the flag means. */
function defaultOf({ means = true, value, without }: OptionSpec): unknown {
  return value === undefined && typeof means === "boolean" ? !means : without;
}
