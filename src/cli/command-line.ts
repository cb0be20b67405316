/** Makes settings of the command line, and refuses what does not fit together. */
import type { GenerationId } from "#abi/recognise/generation-ids";

import type { DebugFlag } from "../lib/debug-flags.ts";
import { ConfigError } from "../lib/errors.ts";
import { absolutePath } from "../lib/paths.ts";
import { quoted } from "../lib/quoted.ts";
import { type GivenOption, splitArguments } from "./arguments.ts";
import type { InspectRequest } from "./inspect.ts";
import { display, type OptionName } from "./options.ts";
import { placesOf } from "./places.ts";
import type { Settings } from "./settings.ts";
import {
  checkValue,
  debugFlag,
  logTarget,
  parseGeneration,
  parseTimeout,
  parseUnsigned,
  tlsMode,
} from "./values.ts";

/** What is printed without loading anything. */
export type Print = "dump-config" | "help" | "long-options" | "short-options" | "version";

/** What is done once the modules are loaded. */
export type Action = "dump-plugin" | "help" | "serve" | "version";

export type CommandLine =
  /** The options are wrong: say why, show the usage. */
  | { readonly kind: "usage"; readonly problem: string }
  | { readonly kind: "print"; readonly what: Print }
  | { readonly kind: "inspect"; readonly request: InspectRequest }
  | {
      readonly kind: "load";
      readonly action: Action;
      readonly settings: Settings;
      /** All arguments but the plugin, the options first: what a plugin that is a program gets. */
      readonly rest: readonly string[];
    };

/** Throws ConfigError where a value is wrong or options exclude each other. */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const { options, words, problem } = splitArguments(argv);
  const draft = new Draft();
  for (const given of options) {
    const name = given.option.name;
    if (name === "dump-config" || name === "long-options" || name === "short-options") {
      return { kind: "print", what: name };
    }
    draft.take(given);
  }
  if (problem !== undefined) return { kind: "usage", problem };
  const [plugin, ...parameters] = words;
  const request = draft.inspection(words);
  if (request !== undefined) return { kind: "inspect", request };
  const action = draft.action();
  if (plugin !== undefined) {
    const rest = [...options.map(optionText), ...withoutOptions(parameters)];
    return { kind: "load", action, settings: draft.settings(plugin, parameters), rest };
  }
  if (action === "help" || action === "version") return { kind: "print", what: action };
  const hint =
    action === "dump-plugin"
      ? "nbdkit PLUGIN --dump-plugin tells of a plugin, and nbdkit --dump-config of the server"
      : "see `nbdkit --help` or the manual nbdkit(1)";
  throw new ConfigError(`no plugin was given on the command line: ${hint}`);
}

function optionText({ option, value }: GivenOption): string {
  return option.value === undefined ? `--${option.name}` : `--${option.name}=${value}`;
}

/** Words that must not be taken for options. */
function withoutOptions(words: readonly string[]): readonly string[] {
  return words.some((word) => word.startsWith("-")) ? ["--", ...words] : words;
}

/** Pairs of options that exclude each other, and why. */
const exclusive: readonly (readonly [OptionName, OptionName, string])[] = [
  ["port", "unix", "for a TCP port and a Unix socket at once, give one of them as --listen=URI"],
  ["port", "single", "a single client on stdin and stdout needs no port"],
  ["unix", "single", "a single client on stdin and stdout needs no socket"],
  ["listen", "single", "a single client on stdin and stdout needs no other place"],
  ["run", "single", "the command of --run has stdin and stdout"],
  ["dump-plugin", "single", "nothing is served"],
  ["vsock", "unix", "for both at once, give one of them as --listen=URI"],
  ["vsock", "single", "a single client on stdin and stdout needs no port"],
];

/** The options that say where clients come from. */
const listening: readonly OptionName[] = [
  "ipaddr",
  "listen",
  "port",
  "run",
  "single",
  "unix",
  "vsock",
];
/** All bits: clients see every flag. */
const wholeMask = 0xffffffff;

/** Collects options one by one. */
class Draft {
  /** All values of each option, in order. */
  readonly #given = new Map<OptionName, string[]>();
  readonly #shown = new Map<OptionName, string>();
  readonly #debugFlags: DebugFlag[] = [];
  readonly #generations = new Map<string, GenerationId>();
  #ipFamily: 4 | 6 | undefined;

  take(given: GivenOption): void {
    const { option, value } = given;
    const { name } = option;
    checkValue(given);
    if (name === "debug") this.#debugFlags.push(debugFlag(value));
    if (name === "filter-generation") this.#takeGeneration(value);
    if (name === "ipv4-only") this.#ipFamily = 4;
    if (name === "ipv6-only") this.#ipFamily = 6;
    this.#given.set(name, [...this.#all(name), value]);
    this.#shown.set(name, display(option));
  }

  /** nbdkit does this once all options are known, and a plugin. */
  #refuseExclusive(): void {
    for (const [one, other, reason] of exclusive) {
      const [first, second] = [this.#shown.get(one), this.#shown.get(other)];
      if (first === undefined || second === undefined) continue;
      throw new ConfigError(`options ${first} and ${second} cannot be used together: ${reason}`);
    }
    if (this.#has("oldstyle") && this.#tlsMode() === "require") {
      throw new ConfigError(
        "options -o/--oldstyle and --tls=require cannot be used together: the oldstyle protocol has no TLS",
      );
    }
  }

  #tlsMode() {
    return tlsMode(this.#last("tls") ?? "") ?? "default";
  }

  #takeGeneration(value: string): void {
    const { filter, generation } = parseGeneration(value);
    const before = this.#generations.get(filter);
    if (before !== undefined && before !== generation) {
      throw new ConfigError(
        `option --filter-generation: ${quoted(filter)} cannot be both ${before} and ${generation}`,
      );
    }
    this.#generations.set(filter, generation);
  }

  #has(name: OptionName): boolean {
    return this.#given.has(name);
  }

  #all(name: OptionName): readonly string[] {
    return this.#given.get(name) ?? [];
  }

  /** Of an option that is given several times the last one counts. */
  #last(name: OptionName): string | undefined {
    return this.#all(name).at(-1);
  }

  /** `{ [key]: ... }` where the option is given, else nothing: for optional properties. */
  #optional<Key extends string, T>(key: Key, name: OptionName, parse: (value: string) => T) {
    const value = this.#last(name);
    // The one key has the one value, and a key that is left out may be left out.
    return (value === undefined ? {} : { [key]: parse(value) }) as { readonly [K in Key]?: T };
  }

  action(): Action {
    if (this.#has("help")) return "help";
    if (this.#has("version")) return "version";
    return this.#has("dump-plugin") ? "dump-plugin" : "serve";
  }

  /** What --inspect asks for, if it is given. */
  inspection([file, ...rest]: readonly string[]): InspectRequest | undefined {
    const json = this.#has("json");
    if (!this.#has("inspect")) {
      if (json) throw new ConfigError("option --json: expected together with --inspect");
      return undefined;
    }
    if (file === undefined || rest.length > 0 || this.#has("filter")) {
      throw new ConfigError(
        "option --inspect: expected one file, or the name of an installed module",
      );
    }
    this.#checkGenerations([file]);
    return { file, json, generation: this.#generations.get(file) };
  }

  settings(plugin: string, parameters: readonly string[]): Settings {
    const filters = this.#all("filter");
    this.#refuseExclusive();
    this.#checkGenerations(filters);
    return {
      plugin,
      filters,
      generations: this.#generations,
      debugFlags: this.#debugFlags,
      parameters,
      ...this.#listening(),
      sockets: {
        ipFamily: this.#ipFamily,
        selinuxLabel: this.#last("selinux-label"),
        keepalive: this.#has("keepalive"),
      },
      tls: {
        mode: this.#tlsMode(),
        certificates: this.#last("tls-certificates"),
        psk: this.#last("tls-psk"),
        priority: this.#last("tls-priority"),
        verifyPeer: this.#has("tls-verify-peer"),
      },
      policy: this.#policy(),
      exportName: this.#last("exportname") ?? "",
      ...this.#process(),
    };
  }

  /** The option means a filter as it is named in --filter; one that means none would be lost in silence. */
  #checkGenerations(filters: readonly string[]): void {
    for (const filter of this.#generations.keys()) {
      if (filters.includes(filter)) continue;
      const named = filters.map(quoted).join(", ");
      throw new ConfigError(
        `option --filter-generation: ${quoted(filter)}: expected a filter as --filter names it: ${named || "there is none"}`,
      );
    }
  }

  #listening() {
    const single = this.#has("single");
    const given = {
      ports: this.#all("port"),
      addresses: this.#all("ipaddr"),
      sockets: this.#all("unix"),
      uris: this.#all("listen"),
      vsock: this.#has("vsock"),
      run: this.#has("run"),
    };
    return {
      listen: single ? [] : placesOf(given),
      single,
      listenOptions: listening.flatMap((name) => this.#shown.get(name) ?? []),
      printUri: this.#has("print-uri"),
    };
  }

  #policy() {
    const mask = this.#last("mask-handshake");
    return {
      readonly: this.#has("readonly"),
      threads: parseUnsigned(this.#last("threads") ?? "0", "-t/--threads") || undefined,
      // Also where -n follows: nbdkit ignores that.
      oldstyle: this.#has("oldstyle"),
      maskHandshake: mask === undefined ? wholeMask : parseUnsigned(mask, "--mask-handshake"),
      structuredReplies: !this.#has("no-sr"),
      metaContexts: !this.#has("no-mc"),
      timeoutSeconds: parseTimeout(this.#last("timeout") ?? "0") || undefined,
    };
  }

  #process() {
    const implied = ["foreground", "run", "exit-with-parent", "single"] as const;
    return {
      foreground: implied.some((name) => this.#has(name)),
      ...this.#optional("pidFile", "pidfile", absolutePath),
      ...this.#optional("run", "run", String),
      exitWithParent: this.#has("exit-with-parent"),
      ...this.#optional("user", "user", String),
      ...this.#optional("group", "group", String),
      shutdownSeconds: parseTimeout(this.#last("shutdown-timeout") ?? "30") ?? 30,
      swap: this.#has("swap"),
      ...this.#optional("name", "name", String),
      log: logTarget(this.#last("log") ?? "") ?? "default",
      verbose: this.#has("verbose"),
    };
  }
}
