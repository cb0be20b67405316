/** The table of command-line options: names, values and help. */

export interface OptionSpec<Name extends string = OptionName> {
  /** The long name without dashes; what the rest of src/cli calls the option. */
  readonly name: Name;
  readonly letter?: string;
  /** Other long names that mean the same. */
  readonly aliases?: readonly string[];
  /** What the option takes, as help shows it. Without it the option takes nothing. */
  readonly value?: string;
  /** One line of help. */
  readonly help: string;
  /** nbdkit does not have it, so that it must not make an abbreviation that nbdkit takes ambiguous. */
  readonly ours?: true;
}

const table = [
  {
    name: "debug",
    letter: "D",
    value: "NAME.FLAG=N",
    help: "set a debug flag of a plugin or filter, or of nbdkit (repeatable)",
  },
  { name: "dump-config", help: "print how this nbdkit was set up" },
  { name: "dump-plugin", help: "print what is known about the plugin" },
  { name: "exit-with-parent", help: "end when the process that started it ends" },
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
    help: "stay in the foreground",
  },
  { name: "group", letter: "g", value: "GROUP", help: "change to this group after the start" },
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
    help: "listen on this address only (default all; repeatable)",
  },
  { name: "ipv4-only", letter: "4", help: "listen on IPv4 addresses only" },
  { name: "ipv6-only", letter: "6", help: "listen on IPv6 addresses only" },
  { name: "json", ours: true, help: "print what --inspect tells as JSON" },
  {
    name: "keepalive",
    aliases: ["keep-alive"],
    help: "let TCP find out about clients that are gone",
  },
  {
    name: "listen",
    value: "URI",
    ours: true,
    help: "listen there, too: nbd://HOST:PORT, nbd+unix:///?socket=PATH or nbd+vsock://:PORT (repeatable)",
  },
  {
    name: "log",
    value: "WHERE",
    help: "where errors go: stderr, syslog, null, default, or the path of a file",
  },
  { name: "long-options", help: "print the long options" },
  {
    name: "mask-handshake",
    value: "MASK",
    help: "the bits of the handshake's flags that clients may see",
  },
  {
    name: "name",
    value: "NAME",
    help: "the name of this server in its error and debug messages: nbdkit[NAME]",
  },
  {
    name: "newstyle",
    letter: "n",
    aliases: ["new-style"],
    help: "use the newstyle protocol (the default)",
  },
  {
    name: "no-mc",
    aliases: ["no-meta-contexts"],
    help: "refuse meta contexts, and with them block status",
  },
  {
    name: "no-sr",
    aliases: ["no-structured-replies"],
    help: "refuse structured replies, and with them block status",
  },
  {
    name: "oldstyle",
    letter: "o",
    aliases: ["old-style"],
    help: "use the protocol without negotiation, for old clients",
  },
  {
    name: "pidfile",
    letter: "P",
    aliases: ["pid-file"],
    value: "FILE",
    help: "write the process number there once clients can connect",
  },
  {
    name: "port",
    letter: "p",
    value: "PORT",
    help: "listen on this TCP port (default 10809; 0: any free one; repeatable)",
  },
  {
    name: "print-uri",
    aliases: ["print-url", "show-uri", "show-url"],
    help: "print the URI of the server once clients can connect",
  },
  {
    name: "readonly",
    letter: "r",
    aliases: ["read-only"],
    help: "refuse writes, whatever the plugin can do",
  },
  { name: "run", value: "COMMAND", help: "run a shell command beside the server, then exit" },
  {
    name: "selinux-label",
    value: "LABEL",
    help: "the SELinux label of the sockets that are listened on",
  },
  {
    name: "shutdown-timeout",
    value: "TIME",
    ours: true,
    help: "how long layers may take to answer when the server ends (default 30, 0: no limit)",
  },
  { name: "short-options", help: "print the short options" },
  {
    name: "single",
    letter: "s",
    aliases: ["stdin"],
    help: "serve one client, on stdin and stdout",
  },
  { name: "swap", help: "lock all memory, for a disk that this machine swaps to" },
  {
    name: "threads",
    letter: "t",
    value: "NUMBER",
    help: "requests that one connection may have in progress (default 16 in C)",
  },
  {
    name: "timeout",
    aliases: ["time-out"],
    value: "TIME",
    help: "how long a client may take to negotiate: 10, 1.5s, 100ms",
  },
  { name: "tls", value: "MODE", help: "TLS: off, on, or require (default on with certificates)" },
  {
    name: "tls-certificates",
    value: "FOLDER",
    help: "where the server's certificate and key are",
  },
  {
    name: "tls-priority",
    value: "PRIORITY",
    help: "the ciphers and versions of TLS that clients may use: a priority string of GnuTLS",
  },
  { name: "tls-psk", value: "FILE", help: "the file of keys shared with clients" },
  { name: "tls-verify-peer", help: "refuse clients without a good certificate" },
  {
    name: "unix",
    letter: "U",
    value: "SOCKET",
    help: "listen on this Unix socket, or on a private one (-) (repeatable)",
  },
  { name: "user", letter: "u", value: "USER", help: "change to this user after the start" },
  { name: "verbose", letter: "v", help: "print debug messages on stderr" },
  { name: "version", letter: "V", help: "print the version, also of the plugin and filters" },
  { name: "vsock", help: "listen on AF_VSOCK, on the port of -p, instead of TCP" },
] as const satisfies readonly OptionSpec<string>[];

export type OptionName = (typeof table)[number]["name"];

/** Every option. */
export const options: readonly OptionSpec[] = table;

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
  return options
    .flatMap(longNames)
    .filter((name) => name !== "long-options" && name !== "short-options")
    .toSorted()
    .map((name) => `--${name}\n`)
    .join("");
}

/** What --short-options prints. */
export function shortOptions(): string {
  return options
    .flatMap(({ letter }) => (letter === undefined ? [] : [letter]))
    .toSorted()
    .map((letter) => `-${letter}\n`)
    .join("");
}
