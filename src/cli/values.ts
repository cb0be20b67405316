/** Reads the values of options, and says what would be accepted in the place of a wrong one. */
import { type GenerationId, generationIds } from "#abi/recognise/generation-ids";

import { type DebugFlag, parseDebugFlag } from "../lib/debug-flags.ts";
import { ConfigError } from "../lib/errors.ts";
import { quoted } from "../lib/quoted.ts";
import { parseBool, parseDelay, parseInteger } from "../lib/size.ts";
import { byteLengthOf } from "../lib/text-bytes.ts";
import type { TlsOptions } from "../server/tls.ts";
import type { GivenOption } from "./arguments.ts";
import { display, type OptionName } from "./options.ts";
import { checkSocket, parseListen, parsePort } from "./places.ts";
import type { LogTarget } from "./settings.ts";

/** The protocol's limit for strings. */
const longestExportName = 4096;
const largestUnsigned = 4294967295;

/** A value is checked where it stands, also if a later one replaces it. */
export function checkValue({ option, value }: GivenOption): void {
  checks[option.name]?.(value, display(option));
}

type Check = (value: string, shown: string) => unknown;

const nameOfUser: Check = (value, shown) => value || refuse(shown, value, "a name or a number");

/** Each throws ConfigError, or returns whatever it likes. */
const checks: Readonly<Partial<Record<OptionName, Check>>> = {
  exportname: checkExportName,
  group: nameOfUser,
  ipaddr: (value, shown) => value || refuse(shown, value, "an address of this machine"),
  listen: (value, shown) => parseListen(value, shown),
  log: (value, shown) => logTarget(value) ?? refuse(shown, value, logWords),
  "mask-handshake": (value, shown) => parseUnsigned(value, shown),
  pidfile: (value, shown) => value || refuse(shown, value, "the path of a file"),
  port: (value, shown) => parsePort(value, shown, { vsock: true, named: true }),
  threads: (value, shown) => parseUnsigned(value, shown, " (0 means the default)"),
  "shutdown-timeout": (value, shown) => parseTimeout(value) ?? refuse(shown, value, timeoutWords),
  timeout: (value, shown) => parseTimeout(value) ?? refuse(shown, value, timeoutWords),
  tls: (value, shown) => tlsMode(value) ?? refuse(shown, value, "off, on or require"),
  "tls-certificates": (value, shown) => value || refuse(shown, value, "the path of a folder"),
  "tls-psk": (value, shown) => value || refuse(shown, value, "the path of a file of keys"),
  unix: (value, shown) => checkSocket(value, shown),
  user: nameOfUser,
};

function refuse(shown: string, value: string, accepted: string): never {
  throw new ConfigError(`option ${shown}: ${quoted(value)}: expected ${accepted}`);
}

function checkExportName(value: string, shown: string): void {
  const bytes = byteLengthOf(value);
  if (bytes <= longestExportName) return;
  throw new ConfigError(
    `option ${shown}: the name has ${bytes} bytes: expected at most ${longestExportName}`,
  );
}

/** nbdkit(1), "--log". */
export function logTarget(value: string): LogTarget | undefined {
  if (value.startsWith("/")) return { file: value };
  const words = ["default", "null", "stderr", "syslog"] as const;
  return words.find((word) => word === value);
}

const logWords = "stderr, syslog, null, default, or the absolute path of a file";

/** nbdkit(1), "--tls": a word, or anything that is read as a boolean. */
export function tlsMode(value: string): TlsOptions["mode"] | undefined {
  if (/^(require|required|force)$/i.test(value)) return "require";
  const on = parseBool(value);
  if (on === undefined) return undefined;
  return on ? "on" : "off";
}

/** What timers take, in seconds: more than three weeks, which is no limit for a negotiation. */
const longestTimeout = 2147483;

/** Seconds; 0 means no limit. */
export function parseTimeout(value: string): number | undefined {
  const delay = parseDelay(value);
  return delay === undefined ? undefined : Math.min(Number(delay) / 1e9, longestTimeout);
}

const timeoutWords = "a time such as 10, 1.5s, 100ms, 20us or 5ns";

export function parseUnsigned(value: string, shown: string, more = ""): number {
  const number = parseInteger(value);
  if (number === undefined || number < 0n || number > BigInt(largestUnsigned)) {
    refuse(shown, value, `a number from 0 to ${largestUnsigned}${more}`);
  }
  return Number(number);
}

export function debugFlag(text: string): DebugFlag {
  const flag = parseDebugFlag(text);
  if (flag !== undefined) return flag;
  throw new ConfigError(
    `-D (Debug Flag) must have the format NAME.FLAG=N, with N a number of 32 bits: ${quoted(text)}`,
  );
}

export function parseGeneration(text: string): { filter: string; generation: GenerationId } {
  const [, filter, id] = /^(.+)=([^=]*)$/s.exec(text) ?? [];
  const generation = generationIds.find((known) => known === id);
  if (filter !== undefined && generation !== undefined) return { filter, generation };
  throw new ConfigError(
    `option --filter-generation: ${quoted(text)}: expected FILTER=ID with one of the IDs ${generationIds.join(", ")}`,
  );
}
