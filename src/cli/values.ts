/** Parsers of option values. The message about a wrong value says which values are accepted. */
import {
  type ChosenLayout,
  layoutNamed,
  layoutOfOldName,
  namedLayouts,
  oldNames,
  type ReleaseId,
} from "#abi/recognise/releases";

import { type DebugFlag, parseDebugFlag } from "../lib/debug-flags.ts";
import { ConfigError } from "../lib/errors.ts";
import { absolutePath } from "../lib/paths.ts";
import { quoted } from "../lib/quoted.ts";
import { parseBool, parseDelay, parseInteger } from "../lib/size.ts";
import { byteLengthOf } from "../lib/text-bytes.ts";
import type { TlsOptions } from "../server/tls.ts";
import type { LogTarget } from "./settings.ts";

/**
 * Makes the new value of an option's field. `shown` is the option as messages name it, `before` the value of the field
 * until now. Throws ConfigError.
 */
export type Parse<T> = (value: string, shown: string, before: T) => T;

/** The protocol's limit for strings. */
const longestExportName = 4096;
const largestUnsigned = 4294967295;

export function refuse(shown: string, value: string, accepted: string): never {
  throw new ConfigError(`option ${shown}: ${quoted(value)}: expected ${accepted}`);
}

/** A parser that keeps all values, in the order of the command line. */
export function all<T>(
  parse: (value: string, shown: string) => T,
): (value: string, shown: string, before: readonly T[]) => readonly T[] {
  return (value, shown, before) => [...before, parse(value, shown)];
}

export function text(value: string): string {
  return value;
}

export function notEmpty(accepted: string): (value: string, shown: string) => string {
  return (value, shown) => value || refuse(shown, value, accepted);
}

export function pathOfFile(value: string, shown: string): string {
  return value === "" ? refuse(shown, value, "the path of a file") : absolutePath(value);
}

export function exportName(value: string, shown: string): string {
  const bytes = byteLengthOf(value);
  if (bytes <= longestExportName) return value;
  throw new ConfigError(
    `option ${shown}: the name has ${bytes} bytes: expected at most ${longestExportName}`,
  );
}

export const logWords = ["stderr", "syslog", "null", "default"] as const;

/** nbdkit(1), "--log". */
export function logTarget(value: string, shown: string): LogTarget {
  if (value.startsWith("/")) return { file: value };
  const accepted = `${logWords.join(", ")}, or the absolute path of a file`;
  return logWords.find((word) => word === value) ?? refuse(shown, value, accepted);
}

/** nbdkit(1), "--tls": one of these words or a boolean. */
export function tlsMode(value: string, shown: string): TlsOptions["mode"] {
  if (/^(require|required|force)$/i.test(value)) return "require";
  const on = parseBool(value) ?? refuse(shown, value, "off, on or require");
  return on ? "on" : "off";
}

/** The limit of timers in seconds: more than three weeks, far beyond any negotiation. */
const longestTimeout = 2147483;

export function seconds(value: string, shown: string): number {
  const delay =
    parseDelay(value) ?? refuse(shown, value, "a time such as 10, 1.5s, 100ms, 20us or 5ns");
  return Math.min(Number(delay) / 1e9, longestTimeout);
}

/** Seconds; 0 means no limit. */
export function timeLimit(value: string, shown: string): number | undefined {
  return seconds(value, shown) || undefined;
}

export function unsigned(value: string, shown: string): number {
  return unsignedOr(value, shown, "");
}

export function threads(value: string, shown: string): number | undefined {
  return unsignedOr(value, shown, " (0 means the default)") || undefined;
}

function unsignedOr(value: string, shown: string, more: string): number {
  const number = parseInteger(value);
  if (number === undefined || number < 0n || number > BigInt(largestUnsigned)) {
    refuse(shown, value, `a number from 0 to ${largestUnsigned}${more}`);
  }
  return Number(number);
}

export function debugFlag(value: string): DebugFlag {
  const flag = parseDebugFlag(value);
  if (flag !== undefined) return flag;
  throw new ConfigError(
    `-D (Debug Flag) must have the format NAME.FLAG=N, with N a number of 32 bits: ${quoted(value)}`,
  );
}

type Releases = ReadonlyMap<string, ChosenLayout>;

/** `FILTER=RELEASE`: the layout of each filter. */
export function withRelease(value: string, shown: string, before: Releases): Releases {
  return withLayout(value, shown, before, layoutNamed, `RELEASE, ${namedLayouts}`);
}

/** `FILTER=ID`: the same by the deprecated names. */
export function withGeneration(value: string, shown: string, before: Releases): Releases {
  const expected = `ID with one of ${oldNames.join(", ")} (deprecated: use --filter-release)`;
  return withLayout(value, shown, before, layoutOfOldName, expected);
}

function withLayout(
  value: string,
  shown: string,
  before: Releases,
  layoutOf: (name: string) => ReleaseId | undefined,
  expected: string,
): Releases {
  const [, filter, name = ""] = /^(.+)=([^=]*)$/s.exec(value) ?? [];
  const id = layoutOf(name);
  if (filter === undefined || id === undefined) refuse(shown, value, `FILTER=${expected}`);
  const other = before.get(filter);
  if (other !== undefined && other.id !== id) {
    throw new ConfigError(
      `option ${shown}: ${quoted(filter)} cannot be both ${other.text} and ${name}`,
    );
  }
  return new Map([...before, [filter, { id, option: shown, text: name }]]);
}
