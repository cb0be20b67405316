/** Makes settings of the command line, and refuses what does not fit together. */
import { resolve } from "node:path";

import { type GenerationId, generationIds } from "#abi/generation-ids";

import { ConfigError } from "../api/errors.ts";
import { type DebugFlag, parseDebugFlag } from "../lib/debug-flags.ts";
import { parseBool, parseInteger } from "../lib/size.ts";
import { type GivenOption, splitArguments } from "./arguments.ts";
import type { InspectRequest } from "./inspect.ts";
import { display, isSupported, type OptionName } from "./options.ts";

/** Where clients connect. */
export type Place =
  | { readonly kind: "unix"; readonly path: string }
  /** -U -: a socket that only this user can see, and that goes away with the server. */
  | { readonly kind: "private" }
  | { readonly kind: "tcp"; readonly port: number; readonly address?: string };

export interface Settings {
  readonly plugin: string;
  /** Outermost first. */
  readonly filters: readonly string[];
  readonly generations: ReadonlyMap<string, GenerationId>;
  readonly debugFlags: readonly DebugFlag[];
  /** What follows the plugin: `key=value` or bare values. */
  readonly parameters: readonly string[];
  readonly place: Place;
  readonly readonly: boolean;
  readonly exportName: string;
  readonly threads: number;
  readonly structuredReplies: boolean;
  readonly verbose: boolean;
  readonly pidFile?: string;
  readonly run?: string;
}

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
    if (!isSupported(name)) {
      throw new ConfigError(`option ${display(given.option)} is not supported yet`);
    }
    if (name === "dump-config" || name === "long-options" || name === "short-options") {
      return { kind: "print", what: name };
    }
    draft.take(name, given);
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
  throw new ConfigError(
    "no plugin was given on the command line: see `nbdkit --help` or the manual nbdkit(1)",
  );
}

function optionText({ option, value }: GivenOption): string {
  return option.value === undefined ? `--${option.name}` : `--${option.name}=${value}`;
}

/** Words that must not be taken for options. */
function withoutOptions(words: readonly string[]): readonly string[] {
  return words.some((word) => word.startsWith("-")) ? ["--", ...words] : words;
}

const defaultPort = 10809;
/** The kernel's limit: sun_path has 108 bytes, and the last is a NUL. */
const longestSocketPath = 107;
/** The protocol's limit for strings. */
const longestExportName = 4096;
const mostThreads = 4294967295;
const defaultThreads = 16;

/** Collects options one by one. */
class Draft {
  #filters: string[] = [];
  #debugFlags: DebugFlag[] = [];
  #generations = new Map<string, GenerationId>();
  #values = new Map<OptionName, string>();

  take(name: OptionName, { option, value }: GivenOption): void {
    if (name === "filter") {
      this.#filters.push(value);
    } else if (name === "debug") {
      this.#debugFlags.push(debugFlag(value));
    } else if (name === "filter-generation") {
      this.#takeGeneration(value);
    } else {
      checkValue(name, display(option), value);
      this.#values.set(name, value);
    }
    if (this.#values.has("port") && this.#values.has("unix")) {
      throw new ConfigError(
        "options -p/--port and -U/--unix cannot be used together: the server listens on a TCP port or on a Unix socket",
      );
    }
  }

  #takeGeneration(value: string): void {
    const { filter, generation } = parseGeneration(value);
    const before = this.#generations.get(filter);
    if (before !== undefined && before !== generation) {
      throw new ConfigError(
        `option --filter-generation: ${JSON.stringify(filter)} cannot be both ${before} and ${generation}`,
      );
    }
    this.#generations.set(filter, generation);
  }

  action(): Action {
    if (this.#values.has("help")) return "help";
    if (this.#values.has("version")) return "version";
    return this.#values.has("dump-plugin") ? "dump-plugin" : "serve";
  }

  /** What --inspect asks for, if it is given. */
  inspection([file, ...rest]: readonly string[]): InspectRequest | undefined {
    const json = this.#values.has("json");
    if (!this.#values.has("inspect")) {
      if (json) throw new ConfigError("option --json: expected together with --inspect");
      return undefined;
    }
    if (file === undefined || rest.length > 0 || this.#filters.length > 0) {
      throw new ConfigError(
        "option --inspect: expected one file, or the name of an installed module",
      );
    }
    this.#checkGenerations([file]);
    return { file, json, generation: this.#generations.get(file) };
  }

  settings(plugin: string, parameters: readonly string[]): Settings {
    const values = this.#values;
    const pidFile = values.get("pidfile");
    const run = values.get("run");
    this.#checkGenerations(this.#filters);
    return {
      plugin,
      filters: this.#filters,
      generations: this.#generations,
      debugFlags: this.#debugFlags,
      parameters,
      place: this.#place(),
      readonly: values.has("readonly"),
      exportName: values.get("exportname") ?? "",
      threads: Number(parseInteger(values.get("threads") ?? "0")) || defaultThreads,
      structuredReplies: !values.has("no-sr"),
      verbose: values.has("verbose"),
      ...(pidFile === undefined ? {} : { pidFile: resolve(pidFile) }),
      ...(run === undefined ? {} : { run }),
    };
  }

  /** The option means a filter as it is named in --filter; one that means none would be lost in silence. */
  #checkGenerations(filters: readonly string[]): void {
    for (const filter of this.#generations.keys()) {
      if (filters.includes(filter)) continue;
      const named = filters.map((name) => JSON.stringify(name)).join(", ");
      throw new ConfigError(
        `option --filter-generation: ${JSON.stringify(filter)}: expected a filter as --filter names it: ${named || "there is none"}`,
      );
    }
  }

  #place(): Place {
    const unix = this.#values.get("unix");
    const port = this.#values.get("port");
    const address = this.#values.get("ipaddr");
    // Since nbdkit 1.36 --run alone does not open a TCP port.
    if (unix === "-" || (unix === undefined && port === undefined && this.#values.has("run"))) {
      return { kind: "private" };
    }
    if (unix !== undefined) return { kind: "unix", path: resolve(unix) };
    const number = port === undefined ? defaultPort : Number(port);
    return { kind: "tcp", port: number, ...(address === undefined ? {} : { address }) };
  }
}

/** A value is checked where it stands, also if a later one replaces it. */
function checkValue(name: OptionName, shown: string, value: string): void {
  const expect = (accepted: string): never => {
    throw new ConfigError(`option ${shown}: ${JSON.stringify(value)}: expected ${accepted}`);
  };
  if (name === "port" && !(/^[0-9]{1,9}$/.test(value) && Number(value) <= 65535)) {
    expect("a port number from 0 to 65535");
  }
  if (name === "threads") {
    const threads = parseInteger(value);
    if (threads === undefined || threads < 0n || threads > BigInt(mostThreads)) {
      expect(`a number from 0 to ${mostThreads} (0 means ${defaultThreads})`);
    }
  }
  if (name === "tls" && parseBool(value) !== false) {
    expect("off: TLS is not supported yet");
  }
  if (name === "exportname" && Buffer.byteLength(value) > longestExportName) {
    throw new ConfigError(
      `option ${shown}: the name has ${Buffer.byteLength(value)} bytes: expected at most ${longestExportName}`,
    );
  }
  if (name === "unix") checkSocket(shown, value);
  if ((name === "pidfile" || name === "ipaddr") && value === "") {
    expect(name === "pidfile" ? "the path of a file" : "an address of this machine");
  }
}

function checkSocket(shown: string, value: string): void {
  if (value === "") {
    throw new ConfigError(
      `option ${shown}: "": expected the path of a socket, or - for a private one`,
    );
  }
  const bytes = value === "-" ? 0 : Buffer.byteLength(resolve(value));
  if (bytes > longestSocketPath) {
    throw new ConfigError(
      `option ${shown}: the path of the socket has ${bytes} bytes: expected at most ${longestSocketPath}: ${resolve(value)}`,
    );
  }
}

function debugFlag(text: string): DebugFlag {
  const flag = parseDebugFlag(text);
  if (flag !== undefined) return flag;
  throw new ConfigError(
    `-D (Debug Flag) must have the format NAME.FLAG=N, with N a number of 32 bits: ${JSON.stringify(text)}`,
  );
}

function parseGeneration(text: string): { filter: string; generation: GenerationId } {
  const [, filter, id] = /^(.+)=([^=]*)$/s.exec(text) ?? [];
  const generation = generationIds.find((known) => known === id);
  if (filter !== undefined && generation !== undefined) return { filter, generation };
  throw new ConfigError(
    `option --filter-generation: ${JSON.stringify(text)}: expected FILTER=ID with one of the IDs ${generationIds.join(", ")}`,
  );
}
