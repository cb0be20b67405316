/** The table of command-line options: names, values, help, and whether they are supported. */

export interface OptionSpec {
  /** The long name without dashes; what the rest of src/cli calls the option. */
  readonly name: string;
  readonly letter?: string;
  /** Other long names that mean the same. */
  readonly aliases?: readonly string[];
  /** What the option takes, as help shows it. Without it the option takes nothing. */
  readonly value?: string;
  /** One line of help. An option without one is known, so that it can be refused by name, but not offered. */
  readonly help?: string;
  /** nbdkit does not have it, so that it must not make an abbreviation that nbdkit takes ambiguous. */
  readonly ours?: true;
}

const supported = [
  {
    name: "debug",
    letter: "D",
    value: "NAME.FLAG=N",
    help: "set a debug flag of a plugin or filter, or of nbdkit (repeatable)",
  },
  { name: "dump-config", help: "print how this nbdkit was set up" },
  { name: "dump-plugin", help: "print what is known about the plugin" },
  {
    name: "exportname",
    letter: "e",
    aliases: ["export", "export-name"],
    value: "NAME",
    help: "the export that $uri of --run names",
  },
  { name: "filter", value: "FILTER", help: "put a filter on top of the plugin (repeatable)" },
  {
    name: "filter-generation",
    value: "FILTER=ID",
    ours: true,
    help: "the generation of a C filter that cannot be told from the file (repeatable)",
  },
  {
    name: "foreground",
    letter: "f",
    aliases: ["no-fork"],
    help: "stay in the foreground (always so)",
  },
  { name: "help", help: "print this text, and the parameters of the plugin and filters" },
  {
    name: "inspect",
    ours: true,
    help: "tell what a C module is, and whether it can be run here: the status is 0 if so, else 1",
  },
  {
    name: "ipaddr",
    letter: "i",
    aliases: ["ip-addr"],
    value: "ADDRESS",
    help: "listen on this address only (default all)",
  },
  { name: "json", ours: true, help: "print what --inspect tells as JSON" },
  { name: "long-options", help: "print the long options" },
  {
    name: "newstyle",
    letter: "n",
    aliases: ["new-style"],
    help: "use the newstyle protocol (always so)",
  },
  {
    name: "no-sr",
    aliases: ["no-structured-replies"],
    help: "refuse structured replies, and with them block status",
  },
  {
    name: "pidfile",
    letter: "P",
    aliases: ["pid-file"],
    value: "FILE",
    help: "write the process number there once clients can connect",
  },
  { name: "port", letter: "p", value: "PORT", help: "listen on this TCP port (default 10809)" },
  {
    name: "readonly",
    letter: "r",
    aliases: ["read-only"],
    help: "refuse writes, whatever the plugin can do",
  },
  { name: "run", value: "COMMAND", help: "run a shell command beside the server, then exit" },
  { name: "short-options", help: "print the short options" },
  {
    name: "threads",
    letter: "t",
    value: "NUMBER",
    help: "requests that one connection may have in progress (default 16)",
  },
  { name: "tls", value: "off", help: "TLS is not supported yet" },
  {
    name: "unix",
    letter: "U",
    value: "SOCKET",
    help: "listen on this Unix socket, or on a private one (-)",
  },
  { name: "verbose", letter: "v", help: "print debug messages on stderr" },
  { name: "version", letter: "V", help: "print the version, also of the plugin and filters" },
] as const satisfies readonly OptionSpec[];

/** nbdkit's other options. */
const unsupported: readonly OptionSpec[] = [
  { name: "exit-with-parent" },
  { name: "group", letter: "g", value: "GROUP" },
  { name: "ipv4-only", letter: "4" },
  { name: "ipv6-only", letter: "6" },
  { name: "keepalive", aliases: ["keep-alive"] },
  { name: "log", value: "MODE" },
  { name: "mask-handshake", value: "MASK" },
  { name: "no-mc", aliases: ["no-meta-contexts"] },
  { name: "oldstyle", letter: "o", aliases: ["old-style"] },
  { name: "print-uri", aliases: ["print-url", "show-uri", "show-url"] },
  { name: "selinux-label", value: "LABEL" },
  { name: "single", letter: "s", aliases: ["stdin"] },
  { name: "swap" },
  { name: "timeout", aliases: ["time-out"], value: "TIME" },
  { name: "tls-certificates", value: "DIRECTORY" },
  { name: "tls-psk", value: "FILE" },
  { name: "tls-verify-peer" },
  { name: "user", letter: "u", value: "USER" },
  { name: "vsock" },
];

export type OptionName = (typeof supported)[number]["name"];

export const options: readonly OptionSpec[] = [...supported, ...unsupported];

const names: ReadonlySet<string> = new Set(supported.map(({ name }) => name));

export function isSupported(name: string): name is OptionName {
  return names.has(name);
}

/** Every long name of an option. */
export function longNames(option: OptionSpec): readonly string[] {
  return [option.name, ...(option.aliases ?? [])];
}

/** `-U/--unix`, for messages. */
export function display(option: OptionSpec): string {
  return option.letter === undefined ? `--${option.name}` : `-${option.letter}/--${option.name}`;
}

/** What --long-options prints: for the completion of shells. */
export function longOptions(): string {
  return supported
    .flatMap(longNames)
    .filter((name) => name !== "long-options" && name !== "short-options")
    .toSorted()
    .map((name) => `--${name}\n`)
    .join("");
}

/** What --short-options prints. */
export function shortOptions(): string {
  return supported
    .flatMap((option) => ("letter" in option ? [option.letter] : []))
    .toSorted()
    .map((letter) => `-${letter}\n`)
    .join("");
}
