/** The table of parameters of a filter or plugin: types, parsing and help in one place. */
import { ConfigError } from "../lib/errors.ts";
import { didYouMean } from "../lib/near.ts";
import { absolutePath } from "../lib/paths.ts";
import { parseBool, parseInteger, parseSize, sizeText } from "../lib/size.ts";

/** One parameter. `T` is the type of its value after configuration. */
export interface Param<T> {
  /** Convert the text after `key=` to a value; `current` is the value so far, for parameters that accumulate. */
  parse(text: string, key: string, current: T | undefined): T;
  /** The value when the parameter is not given. */
  readonly initial: T;
  readonly required: boolean;
  /** Other keys that mean the same. */
  readonly aliases: readonly string[];
  /** The purpose of the parameter; --help adds the rest. */
  readonly help: string;
  /** The placeholder for a value in --help: `SIZE`, `true|false`. */
  readonly type: string;
  /** The range of values, if the type does not show it: `1 to 16`. */
  readonly range?: string | undefined;
  /** The default, as a user would write it. */
  readonly shownDefault?: string | undefined;
  readonly repeatable?: boolean;
}

/** The parameters of a module, by their keys on the command line. */
export type Params = Readonly<Record<string, Param<unknown>>>;

/** The values that a table of parameters yields. */
export type Values<P extends Params> = { [K in keyof P]: P[K] extends Param<infer T> ? T : never };

interface Options<T> {
  /** The purpose of the parameter. --help adds its type, its range and its default. */
  readonly help: string;
  /** Another text for the default in --help, or a description if the default is decided later. */
  readonly shownDefault?: string;
  readonly default?: T;
  readonly required?: boolean;
  readonly aliases?: readonly string[];
}

interface Accepted {
  /** Describes the texts that `parse` accepts. */
  readonly accepted: string;
  /** The placeholder for a value in --help, by default `VALUE`. */
  readonly type?: string;
}

/** With a default or `required`, the value is never undefined. */
type Value<T, O> = O extends { readonly default: unknown } | { readonly required: true }
  ? T
  : T | undefined;

/** The description of a parameter's values in --help. */
interface Shown {
  readonly type: string;
  readonly range?: string;
}

function make<T, const O extends Options<T>>(
  options: O,
  { type, range }: Shown,
  parse: (text: string, key: string) => T,
): Param<Value<T, O>> {
  checkOptions(options);
  return {
    parse,
    // The cast is correct by Value's definition: without a default, `undefined` is part of the type,
    // and a required parameter is checked before anything reads it.
    initial: options.default as Value<T, O>,
    required: options.required ?? false,
    aliases: options.aliases ?? [],
    help: options.help,
    type,
    range,
    shownDefault: options.shownDefault ?? written(options.default),
  };
}

const optionNames = [
  ...["help", "default", "required", "aliases", "shownDefault"],
  ...["min", "max", "accepted", "type"],
];

/** Modules are not type-checked before they run, and a misspelt `reqired` would make a parameter optional. */
function checkOptions(options: object): void {
  const wrong = Object.keys(options).find((name) => !optionNames.includes(name));
  if (wrong === undefined) return;
  throw new ConfigError(
    `params: a parameter has no option "${wrong}": expected one of ${optionNames.join(", ")}` +
      didYouMean(wrong, optionNames),
  );
}

/** If the type lists all values, it is enough. */
function customShown({ type = "VALUE", accepted }: Accepted): Shown {
  return type.includes("|") ? { type } : { type, range: accepted };
}

/** A value as written on the command line, if that can be derived. */
function written(value: unknown): string | undefined {
  if (typeof value === "bigint") return sizeText(value);
  if (typeof value === "string") return value === "" ? '""' : value;
  return typeof value === "boolean" || typeof value === "number" ? String(value) : undefined;
}

function refuse(key: string, text: string, accepted: string): never {
  throw new ConfigError(`${key}=${text}: expected ${accepted}`);
}

const sizeWords =
  "a size in bytes (decimal, 0x… or octal 0…), with an optional suffix b, k, m, g, t, p, e or s (512 bytes)";

/**
 * The kinds of parameters. Each takes the text of `help` and optionally `default`, `required` and
 * `aliases`, which --help also shows. A parameter that is neither given nor has a default is
 * undefined. An invalid text ends the server with a ConfigError that names the key, the text and
 * the accepted values.
 *
 * @example
 * params: {
 *   size: param.size({ required: true, help: "The size of the disk." }),
 *   mode: param.choice(["slow", "fast"], { default: "slow", help: "How to do it." }),
 * }
 */
export const param = {
  /** Bytes, as nbdkit_parse_size reads them. */
  size: <const O extends Options<bigint>>(options: O) =>
    make<bigint, O>(
      options,
      { type: "SIZE" },
      (text, key) => parseSize(text) ?? refuse(key, text, sizeWords),
    ),

  /** 1, true, yes, on … as nbdkit_parse_bool reads them. */
  bool: <const O extends Options<boolean>>(options: O) =>
    make<boolean, O>(
      options,
      { type: "true|false" },
      (text, key) => parseBool(text) ?? refuse(key, text, "true or false"),
    ),

  /** An integer from `min` to `max`, as nbdkit_parse_int reads it. */
  integer: <const O extends Options<number> & { readonly min: number; readonly max: number }>(
    options: O,
  ) =>
    make<number, O>(
      options,
      { type: "N", range: `${options.min} to ${options.max}` },
      (text, key) => {
        const value = parseInteger(text);
        if (value === undefined || value < options.min || value > options.max) {
          refuse(key, text, `an integer from ${options.min} to ${options.max}`);
        }
        return Number(value);
      },
    ),

  /** Any text, including the empty one. */
  string: <const O extends Options<string>>(options: O) =>
    make<string, O>(options, { type: "TEXT" }, (text) => text),

  /** A path, made absolute, since a daemon changes its directory: nbdkit_absolute_path. */
  path: <const O extends Options<string>>(options: O) =>
    make<string, O>(options, { type: "PATH" }, (text, key) =>
      text === "" ? refuse(key, text, "a path") : absolutePath(text),
    ),

  /** Exactly one of the words. */
  choice: <const T extends string, const O extends Options<NoInfer<T>>>(
    words: readonly T[],
    options: O,
  ) =>
    make<T, O>(
      options,
      { type: words.join("|") },
      (text, key) =>
        words.find((word) => word === text) ?? refuse(key, text, `one of ${words.join(", ")}`),
    ),

  /**
   * Anything else: `parse` returns undefined for texts that it does not accept, and `accepted`
   * describes the others.
   */
  custom: <T, const O extends Options<NoInfer<T>> & Accepted>(
    parse: (text: string) => T | undefined,
    options: O,
  ) =>
    make<T, O>(
      options,
      customShown(options),
      (text, key) => parse(text) ?? refuse(key, text, options.accepted),
    ),

  /** A parameter that may be given several times; its value is all of them in order. */
  list: <T>(one: Param<T | undefined>): Param<readonly T[]> => ({
    ...one,
    repeatable: true,
    // As in `make`, no code reads it if the parameter is required.
    initial: one.required ? (undefined as never) : [],
    parse: (text, key, current) => [...(current ?? []), valueOf(one, text, key)],
  }),

  /** A parameter whose value includes its position, for `lastGiven`. If it is not given, it is undefined. */
  ordered: <T>(one: Param<T | undefined>): Param<Given<T> | undefined> => ({
    ...one,
    initial: undefined,
    parse: (text, key) => ({ value: valueOf(one, text, key), order: ++given }),
  }),
};

function valueOf<T>(one: Param<T | undefined>, text: string, key: string): T {
  // parse never returns undefined: it throws. Only `initial` may be undefined.
  return one.parse(text, key, undefined) as T;
}

/** A value and its position on the command line. */
export interface Given<T> {
  readonly value: T;
  /** Counts from 1, in the order of the command line. */
  readonly order: number;
}

let given = 0;

/**
 * The value of the later one of two parameters that set the same thing; undefined if neither was given.
 *
 * @example
 * const ms = lastGiven(config.wdelay, config["delay-write"]) ?? 0;
 */
export function lastGiven<T>(
  one: Given<T> | undefined,
  other: Given<T> | undefined,
): T | undefined {
  return (one?.order ?? 0) > (other?.order ?? 0) ? one?.value : other?.value;
}

/** The key in the table that `key` on the command line means, or undefined. */
export function findParam(params: Params, key: string): string | undefined {
  if (Object.hasOwn(params, key)) return key;
  return Object.keys(params).find((name) => params[name]?.aliases.includes(key));
}

/** The lines of --help for a table. A value without a key stands for the key `main`. */
export function helpOf(params: Params, main?: string): string | undefined {
  const lines = Object.entries(params).map(([key, entry]) => {
    const name = `${key === main ? `[${key}=]` : `${key}=`}${entry.type}`;
    const facts = factsOf(entry);
    const words = wrapped(
      facts === "" ? entry.help : `${entry.help.replace(/\.$/, "")} (${facts})`,
    );
    // A long name has its own line.
    return name.length < indent.length
      ? name.padEnd(indent.length) + words
      : `${name}\n${indent}${words}`;
  });
  return lines.length > 0 ? lines.join("\n") : undefined;
}

function factsOf({ required, range, shownDefault, repeatable, aliases }: Param<unknown>): string {
  const facts = [
    required ? "required" : undefined,
    range,
    shownDefault === undefined ? undefined : `default ${shownDefault}`,
    repeatable === true ? "repeatable" : undefined,
    aliases.length > 0 ? `also ${aliases.map((alias) => `${alias}=`).join(", ")}` : undefined,
  ];
  return facts.filter((fact) => fact !== undefined).join("; ");
}

const indent = " ".repeat(25);
const width = 80;

/** `text` in lines; all but the first start with the indent. */
function wrapped(text: string): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1) ?? "";
    if (line === "") lines[lines.length - 1] = word;
    else if (indent.length + line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.join(`\n${indent}`);
}
