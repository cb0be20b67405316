/** The table of command-line options. One row describes one option: names, value, target, conflicts, help. */
import { parseListen, parsePort, parseSocket } from "./places.ts";
import type { Target, TargetValue } from "./settings.ts";
import {
  all,
  debugFlag,
  exportName,
  logTarget,
  logWords,
  notEmpty,
  type Parse,
  pathOfFile,
  seconds,
  text,
  threads,
  timeLimit,
  tlsMode,
  unsigned,
  withGeneration,
  withRelease,
} from "./values.ts";

export interface OptionSpec<Name extends string = OptionName> {
  /** The long name without dashes. The rest of src/cli calls the option by this name. */
  readonly name: Name;
  readonly letter?: string;
  /** Other long names that mean the same. */
  readonly aliases?: readonly string[];
  /** The placeholder for the value in help. Without it the option takes no value. */
  readonly value?: string;
  /** One line of help. */
  readonly help: string;
  /** nbdkit lacks this option, so it must not make an abbreviation that nbdkit accepts ambiguous. */
  readonly ours?: true;
  /** The option is deprecated, and this one is to be used instead. */
  readonly replacedBy?: Name;
  /** The options that cannot be used together with this one. */
  readonly conflicts?: readonly Conflict<Name>[];
  /** The option says where clients connect, so it is refused with socket activation. */
  readonly listens?: true;
  /** The words that shells offer for the value. */
  readonly words?: readonly string[];
  /** The kind of names that shells offer for the value. */
  readonly completes?: "commands" | "files" | "filters" | "folders" | "groups" | "hosts" | "users";
  /** The field that the option sets. */
  readonly into?: Target;
  /** Makes the new value of the field. The last value counts, unless the parser adds to the values before. */
  readonly parse?: (value: string, shown: string, before: never) => unknown;
  /** The new value of the field if the option takes no value (default true). */
  readonly means?: unknown;
  /** The value of the field if the option is not given (default: the opposite of `means`, or undefined). */
  readonly without?: unknown;
}

interface Conflict<Name extends string> {
  readonly with: Name;
  /** The conflict exists only if that option has this value. */
  readonly value?: string;
  readonly reason: string;
}

/** The values of a row have the type of its field. */
type Filling<T extends Target = Target> = T extends Target
  ? { readonly into: T } & (
      | ({ readonly value: string; readonly parse: Parse<TargetValue<T>> } & Without<
          TargetValue<T>
        >)
      | ({ readonly value?: never } & Meaning<TargetValue<T>>)
    )
  : never;
type Without<Value> = undefined extends Value
  ? { readonly without?: Value }
  : { readonly without: Value };
type Meaning<Value> = boolean extends Value
  ? { readonly means?: Value }
  : { readonly means: Exclude<Value, undefined> };

const table = [
  {
    name: "debug",
    letter: "D",
    value: "NAME.FLAG=N",
    help: "set a debug flag of a plugin or filter, or of nbdkit (repeatable)",
    into: "debugFlags",
    parse: all(debugFlag),
    without: [],
  },
  { name: "dump-config", help: "print the configuration of this nbdkit" },
  {
    name: "dump-plugin",
    help: "print information about the plugin",
    into: "asked.dumpPlugin",
    conflicts: [{ with: "single", reason: "nothing is served" }],
  },
  {
    name: "exit-with-parent",
    help: "end when the process that started it ends",
    into: "exitWithParent",
  },
  {
    name: "exportname",
    letter: "e",
    aliases: ["export", "export-name"],
    value: "NAME",
    help: "the export that $uri of --run names",
    into: "exportName",
    parse: exportName,
    without: "",
  },
  {
    name: "filter",
    value: "FILTER",
    help: "put a filter on top of the plugin (repeatable)",
    into: "filters",
    parse: all(text),
    without: [],
    completes: "filters",
  },
  {
    name: "filter-generation",
    value: "FILTER=ID",
    ours: true,
    help: "deprecated: use --filter-release",
    replacedBy: "filter-release",
    into: "releases",
    parse: withGeneration,
    without: new Map(),
  },
  {
    name: "filter-release",
    value: "FILTER=RELEASE",
    ours: true,
    help: "the nbdkit a C filter was built for, if the file does not show it (repeatable)",
    into: "releases",
    parse: withRelease,
    without: new Map(),
  },
  {
    name: "foreground",
    letter: "f",
    aliases: ["no-fork"],
    help: "stay in the foreground",
    into: "foreground",
  },
  {
    name: "group",
    letter: "g",
    value: "GROUP",
    help: "change to this group after the start",
    into: "group",
    parse: notEmpty("a name or a number"),
    completes: "groups",
  },
  {
    name: "help",
    help: "print this text, and the parameters of the plugin and filters",
    into: "asked.help",
  },
  {
    name: "inspect",
    ours: true,
    help: "describe a C module, and whether it can be run here: the status is 0 if so, else 1",
    into: "asked.inspect",
  },
  {
    name: "ipaddr",
    letter: "i",
    aliases: ["ip-addr"],
    value: "ADDRESS",
    help: "listen on this address only (default all; repeatable)",
    into: "places.addresses",
    parse: all(notEmpty("an address of this machine")),
    without: [],
    listens: true,
    completes: "hosts",
  },
  {
    name: "ipv4-only",
    letter: "4",
    help: "listen on IPv4 addresses only",
    into: "sockets.ipFamily",
    means: 4,
  },
  {
    name: "ipv6-only",
    letter: "6",
    help: "listen on IPv6 addresses only",
    into: "sockets.ipFamily",
    means: 6,
  },
  { name: "json", ours: true, help: "print the output of --inspect as JSON", into: "asked.json" },
  {
    name: "keepalive",
    aliases: ["keep-alive"],
    help: "let TCP detect clients that have disappeared",
    into: "sockets.keepalive",
  },
  {
    name: "listen",
    value: "URI",
    ours: true,
    help: "listen here too: nbd://HOST:PORT, nbd+unix:///?socket=PATH or nbd+vsock://:PORT (repeatable)",
    into: "places.uris",
    parse: all(parseListen),
    without: [],
    listens: true,
    conflicts: [{ with: "single", reason: "a single client on stdin and stdout needs no address" }],
  },
  {
    name: "log",
    value: "WHERE",
    help: "where errors go: stderr, syslog, null, default, or the path of a file",
    into: "log",
    parse: logTarget,
    without: "default",
    words: logWords,
    completes: "files",
  },
  { name: "long-options", help: "print the long options" },
  {
    name: "mask-handshake",
    value: "MASK",
    help: "the bits of the handshake's flags that clients may see",
    into: "policy.maskHandshake",
    parse: unsigned,
    without: 0xffffffff,
  },
  {
    name: "name",
    value: "NAME",
    help: "the name of this server in its error and debug messages: nbdkit[NAME]",
    into: "name",
    parse: text,
  },
  {
    name: "newstyle",
    letter: "n",
    aliases: ["new-style"],
    help: "use the newstyle protocol (the default)",
    into: "policy.oldstyle",
    means: false,
  },
  {
    name: "no-mc",
    aliases: ["no-meta-contexts"],
    help: "refuse meta contexts, and with them block status",
    into: "policy.metaContexts",
    means: false,
  },
  {
    name: "no-sr",
    aliases: ["no-structured-replies"],
    help: "refuse structured replies, and with them block status",
    into: "policy.structuredReplies",
    means: false,
  },
  {
    name: "oldstyle",
    letter: "o",
    aliases: ["old-style"],
    help: "use the protocol without negotiation, for old clients",
    into: "policy.oldstyle",
    conflicts: [{ with: "tls", value: "require", reason: "the oldstyle protocol has no TLS" }],
  },
  {
    name: "pidfile",
    letter: "P",
    aliases: ["pid-file"],
    value: "FILE",
    help: "write the process ID there once clients can connect",
    into: "pidFile",
    parse: pathOfFile,
    completes: "files",
  },
  {
    name: "port",
    letter: "p",
    value: "PORT",
    help: "listen on this TCP port (default 10809; 0: any free one; repeatable)",
    into: "places.ports",
    parse: all(parsePort),
    without: [],
    listens: true,
    conflicts: [
      {
        with: "unix",
        reason: "for a TCP port and a Unix socket at once, give one of them as --listen=URI",
      },
      { with: "single", reason: "a single client on stdin and stdout needs no port" },
    ],
  },
  {
    name: "print-uri",
    aliases: ["print-url", "show-uri", "show-url"],
    help: "print the URI of the server once clients can connect",
    into: "printUri",
  },
  {
    name: "readonly",
    letter: "r",
    aliases: ["read-only"],
    help: "refuse writes, whatever the plugin can do",
    into: "policy.readonly",
  },
  {
    name: "run",
    value: "COMMAND",
    help: "run a shell command beside the server, then exit",
    into: "run",
    parse: text,
    listens: true,
    completes: "commands",
    conflicts: [{ with: "single", reason: "the command of --run has stdin and stdout" }],
  },
  {
    name: "selinux-label",
    value: "LABEL",
    help: "the SELinux label of the listening sockets",
    into: "sockets.selinuxLabel",
    parse: text,
  },
  {
    name: "shutdown-timeout",
    value: "TIME",
    ours: true,
    help: "how long layers may take to answer when the server ends (default 30, 0: no limit)",
    into: "shutdownSeconds",
    parse: seconds,
    without: 30,
  },
  { name: "short-options", help: "print the short options" },
  {
    name: "single",
    letter: "s",
    aliases: ["stdin"],
    help: "serve one client, on stdin and stdout",
    into: "single",
    listens: true,
  },
  { name: "swap", help: "lock all memory, for a disk that this machine swaps to", into: "swap" },
  {
    name: "threads",
    letter: "t",
    value: "NUMBER",
    help: "requests that one connection may have in progress (default 16 in C)",
    into: "policy.threads",
    parse: threads,
  },
  {
    name: "timeout",
    aliases: ["time-out"],
    value: "TIME",
    help: "how long a client may take to negotiate: 10, 1.5s, 100ms",
    into: "policy.timeoutSeconds",
    parse: timeLimit,
  },
  {
    name: "tls",
    value: "MODE",
    help: "TLS: off, on, or require (default on with certificates)",
    into: "tls.mode",
    parse: tlsMode,
    without: "default",
    words: ["off", "on", "require"],
  },
  {
    name: "tls-certificates",
    value: "FOLDER",
    help: "where the server's certificate and key are",
    into: "tls.certificates",
    parse: notEmpty("the path of a folder"),
    completes: "folders",
  },
  {
    name: "tls-priority",
    value: "PRIORITY",
    help: "the ciphers and versions of TLS that clients may use: a priority string of GnuTLS",
    into: "tls.priority",
    parse: text,
  },
  {
    name: "tls-psk",
    value: "FILE",
    help: "the file of keys shared with clients",
    into: "tls.psk",
    parse: notEmpty("the path of a file of keys"),
    completes: "files",
  },
  {
    name: "tls-verify-peer",
    help: "refuse clients without a good certificate",
    into: "tls.verifyPeer",
  },
  {
    name: "unix",
    letter: "U",
    value: "SOCKET",
    help: "listen on this Unix socket, or on a private one (-) (repeatable)",
    into: "places.sockets",
    parse: all(parseSocket),
    without: [],
    listens: true,
    completes: "files",
    conflicts: [{ with: "single", reason: "a single client on stdin and stdout needs no socket" }],
  },
  {
    name: "user",
    letter: "u",
    value: "USER",
    help: "change to this user after the start",
    into: "user",
    parse: notEmpty("a name or a number"),
    completes: "users",
  },
  { name: "verbose", letter: "v", help: "print debug messages on stderr", into: "verbose" },
  {
    name: "version",
    letter: "V",
    help: "print the versions of nbdkit, the plugin and the filters",
    into: "asked.version",
  },
  {
    name: "vsock",
    help: "listen on AF_VSOCK, on the port of -p, instead of TCP",
    into: "places.vsock",
    listens: true,
    conflicts: [
      { with: "unix", reason: "for both at once, give one of them as --listen=URI" },
      { with: "single", reason: "a single client on stdin and stdout needs no port" },
    ],
  },
] as const satisfies readonly (OptionSpec<string> & (Filling | { readonly into?: never }))[];

type Row = (typeof table)[number];
export type OptionName = Row["name"];
type Filled = Extract<Row, { readonly into: string }>["into"];

/** Every option. A field without a row is a type error here. */
export const options: readonly ([Exclude<Target, Filled>] extends [never] ? OptionSpec : never)[] =
  table;

/** Every long name of an option. */
export function longNames(option: OptionSpec): readonly string[] {
  return [option.name, ...(option.aliases ?? [])];
}

/** All spellings, with dashes. */
export function spellings(option: OptionSpec): readonly string[] {
  const long = longNames(option).map((name) => `--${name}`);
  return option.letter === undefined ? long : [`-${option.letter}`, ...long];
}

/** `-U/--unix`, for messages. */
export function display(option: OptionSpec): string {
  return option.letter === undefined ? `--${option.name}` : `-${option.letter}/--${option.name}`;
}

/** The output of --long-options, for shell completion. */
export function longOptions(): string {
  return options
    .flatMap(longNames)
    .filter((name) => name !== "long-options" && name !== "short-options")
    .toSorted()
    .map((name) => `--${name}\n`)
    .join("");
}

/** The output of --short-options. */
export function shortOptions(): string {
  return options
    .flatMap(({ letter }) => (letter === undefined ? [] : [letter]))
    .toSorted()
    .map((letter) => `-${letter}\n`)
    .join("");
}
