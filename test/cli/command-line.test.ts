/** The settings that options stand for, and the options that are refused. Nothing is started. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";

import { newestKnown } from "#abi/recognise/releases";
import { settingsOf as settings } from "#test/settings";

import { parseCommandLine } from "../../src/cli/command-line.ts";
import { parseParameters } from "../../src/cli/parameters.ts";
import type { Place } from "../../src/cli/settings.ts";

/** The newest stable series with a known layout, such as 1.48. */
const newestSeries = newestKnown.replace(/\.\d+$/, "");

describe("settings", () => {
  test("have nbdkit's defaults", () => {
    expect(parseCommandLine(["null"])).toMatchObject({
      kind: "load",
      action: "serve",
      rest: [],
      settings: {
        plugin: "null",
        filters: [],
        releases: new Map(),
        debugFlags: [],
        parameters: [],
        listen: [{ kind: "tcp", port: 10809 }],
        single: false,
        listenOptions: [],
        sockets: { ipFamily: undefined, selinuxLabel: undefined, keepalive: false },
        tls: {
          mode: "default",
          certificates: undefined,
          psk: undefined,
          priority: undefined,
          verifyPeer: false,
        },
        policy: {
          readonly: false,
          threads: undefined,
          structuredReplies: true,
          metaContexts: true,
          maskHandshake: 0xffffffff,
          oldstyle: false,
          timeoutSeconds: undefined,
        },
        printUri: false,
        exportName: "",
        foreground: false,
        exitWithParent: false,
        pidFile: undefined,
        run: undefined,
        user: undefined,
        group: undefined,
        name: undefined,
        shutdownSeconds: 30,
        swap: false,
        log: "default",
        verbose: false,
      },
    });
  });

  test("hold the value of each option", () => {
    expect(
      settings(
        ..."-fnrv -e disk -P pid -t 0x10 -U sock --filter a --filter=./b.so --run true".split(" "),
        ..."--filter-release=a=original --filter-generation ./b.so=A --tls=off ./p.so k=v w".split(
          " ",
        ),
        ..."-D cow.a.b=-1 --debug=x.y=0x10 --no-sr".split(" "),
      ),
    ).toMatchObject({
      plugin: "./p.so",
      filters: ["a", "./b.so"],
      releases: new Map([
        ["a", { id: "original", option: "--filter-release", text: "original" }],
        ["./b.so", { id: "1.2", option: "--filter-generation", text: "A" }],
      ]),
      debugFlags: [
        { name: "cow", flag: "a.b", value: -1 },
        { name: "x", flag: "y", value: 16 },
      ],
      parameters: ["k=v", "w"],
      listen: [{ kind: "unix", path: resolve("sock") }],
      policy: { readonly: true, threads: 16, structuredReplies: false },
      exportName: "disk",
      tls: { mode: "off" },
      foreground: true,
      verbose: true,
      pidFile: resolve("pid"),
      run: "true",
    });
  });

  test.each([
    { argv: ["-p", "1"], place: { kind: "tcp", port: 1 } },
    { argv: ["-p", "0"], place: { kind: "tcp", port: 0 } },
    { argv: ["-p", "65535", "-i", "::1"], place: { kind: "tcp", port: 65535, address: "::1" } },
    { argv: ["-i", "127.0.0.1"], place: { kind: "tcp", port: 10809, address: "127.0.0.1" } },
    { argv: ["-U", "-"], place: { kind: "private" } },
    { argv: ["-U", "./-"], place: { kind: "unix", path: `${process.cwd()}/./-` } },
    { argv: ["--run", "true"], place: { kind: "private" } },
    { argv: ["--run", "true", "-p", "2"], place: { kind: "tcp", port: 2 } },
    { argv: ["--run", "true", "-U", "/s"], place: { kind: "unix", path: "/s" } },
  ])("listen at $place with $argv", ({ argv, place }) => {
    expect(settings(...argv, "null").listen).toEqual([place]);
  });

  test("hold the values of options for daemons and of options newer than nbdkit 1.32", () => {
    expect(
      settings(
        ..."-U a -U b --listen nbd+vsock://:5 --print-url --keep-alive --selinux-label=x:y -46".split(
          " ",
        ),
        ..."--tls=require --tls-certificates certs --tls-psk=/keys --tls-verify-peer".split(" "),
        ..."--mask-handshake=0x1 --no-meta-contexts --time-out=1.5s --swap -u nobody -g 65534".split(
          " ",
        ),
        ..."--log=/var/log/nbdkit.log --exit-with-parent null".split(" "),
      ),
    ).toMatchObject({
      listen: [
        { kind: "unix", path: resolve("a") },
        { kind: "unix", path: resolve("b") },
        { kind: "vsock", port: 5 },
      ],
      listenOptions: ["--listen", "-U/--unix"],
      sockets: { ipFamily: 6, keepalive: true, selinuxLabel: "x:y" },
      printUri: true,
      tls: { mode: "require", certificates: "certs", psk: "/keys", verifyPeer: true },
      policy: { maskHandshake: 1, metaContexts: false, timeoutSeconds: 1.5 },
      foreground: true,
      exitWithParent: true,
      user: "nobody",
      group: "65534",
      swap: true,
      log: { file: "/var/log/nbdkit.log" },
    });
  });

  test.each([
    { argv: ["-f"], expected: { foreground: true, single: false } },
    { argv: ["--run", "true"], expected: { foreground: true, run: "true" } },
    { argv: ["--exit-with-parent"], expected: { foreground: true, exitWithParent: true } },
    { argv: ["-s"], expected: { foreground: true, single: true, listen: [] } },
    { argv: ["-o"], expected: { policy: { oldstyle: true } } },
    { argv: ["-n", "-o"], expected: { policy: { oldstyle: true } } },
    { argv: ["-o", "-n"], expected: { policy: { oldstyle: false } } },
    { argv: ["-6", "-4"], expected: { sockets: { ipFamily: 4 } } },
    { argv: ["--log=syslog", "--log=null"], expected: { log: "null" } },
    { argv: ["--tls=on"], expected: { tls: { mode: "on" } } },
    { argv: ["--tls=FORCE"], expected: { tls: { mode: "require" } } },
    { argv: ["--timeout=10"], expected: { policy: { timeoutSeconds: 10 } } },
    { argv: ["--timeout=9000000000"], expected: { policy: { timeoutSeconds: 2147483 } } },
    { argv: ["--timeout=250ms"], expected: { policy: { timeoutSeconds: 0.25 } } },
    { argv: ["--shutdown-timeout=1.5s"], expected: { shutdownSeconds: 1.5 } },
    { argv: ["--shutdown-timeout=0"], expected: { shutdownSeconds: 0 } },
  ])("are $expected with $argv", ({ argv, expected }) => {
    expect(settings(...argv, "null")).toMatchObject(expected);
  });

  test("have no timeout with --timeout=0", () => {
    expect(settings("--timeout=0", "null").policy.timeoutSeconds).toBeUndefined();
  });

  const tcp = (port: number, address?: string): Place => ({
    kind: "tcp",
    port,
    ...(address === undefined ? {} : { address }),
  });
  const unix = (path: string): Place => ({ kind: "unix", path });
  const combinations: readonly { argv: string; listen: readonly Place[] }[] = [
    { argv: "-p 1 -p 2", listen: [tcp(1), tcp(2)] },
    { argv: "-p 1 -p 1 -p 1", listen: [tcp(1)] },
    { argv: "-p 0 -p 0", listen: [tcp(0), tcp(0)] },
    { argv: "-i a -p 1 -p 2", listen: [tcp(1, "a"), tcp(2, "a")] },
    { argv: "-p 1 -i a -i b", listen: [tcp(1, "a"), tcp(1, "b")] },
    { argv: "-i a -i b", listen: [tcp(10809, "a"), tcp(10809, "b")] },
    { argv: "-p 1 -i a -i b -p 2", listen: [tcp(1, "a"), tcp(2, "b")] },
    { argv: "-U - -U -", listen: [{ kind: "private" }, { kind: "private" }] },
    // nbdkit ignores -i if the server does not listen on TCP.
    { argv: "-U /s -i a", listen: [unix("/s")] },
    { argv: "--run true -i a", listen: [{ kind: "private" }] },
    { argv: "--vsock", listen: [{ kind: "vsock", port: 10809 }] },
    { argv: "--vsock -p 4294967295 -i a", listen: [{ kind: "vsock", port: 4294967295 }] },
    { argv: "--run true --vsock", listen: [{ kind: "vsock", port: 10809 }] },
    { argv: "--listen nbd://", listen: [tcp(10809)] },
    { argv: "--listen nbd://localhost", listen: [tcp(10809, "localhost")] },
    { argv: "--listen nbd://127.0.0.1:5/", listen: [tcp(5, "127.0.0.1")] },
    { argv: "--listen nbd://[::1]:5", listen: [tcp(5, "::1")] },
    { argv: "--listen nbd+vsock://:5", listen: [{ kind: "vsock", port: 5 }] },
    { argv: "--listen nbd+unix:///?socket=/a%20b", listen: [unix("/a b")] },
    { argv: "--listen nbd+unix://?socket=c", listen: [unix(resolve("c"))] },
    { argv: "--listen nbd://:1 -U /s", listen: [unix("/s"), tcp(1)] },
    { argv: "--listen nbd+unix:///?socket=/s -p 1", listen: [tcp(1), unix("/s")] },
  ];
  test.each(combinations)("listen at $listen with $argv", ({ argv, listen }) => {
    expect(settings(...argv.split(" "), "null").listen).toEqual(listen);
  });

  test.each([
    ["0", undefined],
    ["1", 1],
    ["0x20", 32],
    ["4294967295", 4294967295],
  ])("of -t %s have %s threads", (text, threads) => {
    expect(settings("-t", text, "null").policy.threads).toBe(threads);
  });

  test("accept the longest possible socket path and export name", () => {
    const path = `/${"x".repeat(106)}`;
    expect(settings("-U", path, "null").listen).toEqual([{ kind: "unix", path }]);
    expect(settings("-e", "é".repeat(2048), "null").exportName).toBe("é".repeat(2048));
  });

  test.each(["off", "0", "no", "false"])("accept --tls=%s", (word) => {
    expect(settings(`--tls=${word}`, "null").plugin).toBe("null");
  });
});

describe("the command line", () => {
  test.each([
    [["--help"], { kind: "print", what: "help" }],
    [["--version"], { kind: "print", what: "version" }],
    [["-V"], { kind: "print", what: "version" }],
    [["--dump-config"], { kind: "print", what: "dump-config" }],
    // These take effect at once, whatever follows.
    [["--dump-config", "--foo"], { kind: "print", what: "dump-config" }],
    [["--dump-config", "-p", "abc"], { kind: "print", what: "dump-config" }],
    [["--long-options", "null"], { kind: "print", what: "long-options" }],
    [["--short-options"], { kind: "print", what: "short-options" }],
    [["--foo"], { kind: "usage", problem: "unknown option '--foo'" }],
    [["--foo", "--help"], { kind: "usage", problem: "unknown option '--foo'" }],
  ] as const)("%j loads no plugin", (argv, expected) => {
    expect(parseCommandLine(argv)).toEqual(expected);
  });

  test.each([
    [["null", "--help"], "help"],
    [["--version", "null"], "version"],
    [["null", "--dump-plugin"], "dump-plugin"],
    [["null", "--version", "--help"], "help"],
    [["null", "-f"], "serve"],
  ] as const)("%j loads the plugin for %s", (argv, action) => {
    expect(parseCommandLine(argv)).toMatchObject({ kind: "load", action });
  });
});

describe("the arguments of a plugin that is a program", () => {
  test.each([
    { argv: "plugin", rest: "" },
    { argv: "plugin a=1 b", rest: "a=1 b" },
    {
      argv: "-fv plugin a=1 -U - --filter x",
      rest: "--foreground --verbose --unix=- --filter=x a=1",
    },
    { argv: "-D a.b=1 -e plugin plugin", rest: "--debug=a.b=1 --exportname=plugin" },
    { argv: "-r -- plugin -x y", rest: "--readonly -- -x y" },
  ])("are $rest for $argv", ({ argv, rest }) => {
    expect(parseCommandLine(argv.split(" "))).toMatchObject({
      rest: rest.split(" ").filter(Boolean),
    });
  });
});

/** The names of ports. Not every machine has this file. */
const services = existsSync("/etc/services") ? readFileSync("/etc/services", "utf8") : "";

test.skipIf(!/^http\s+80\/tcp/m.test(services))(
  "a port may be the name of a service (needs /etc/services)",
  () => {
    const line = parseCommandLine(["-p", "http", "null"]);
    expect(line).toMatchObject({ settings: { listen: [{ kind: "tcp", port: 80 }] } });
  },
);

describe("parseCommandLine", () => {
  const refused: readonly (readonly [readonly string[], string])[] = [
    [[], "no plugin was given on the command line: see `nbdkit --help` or the manual nbdkit(1)"],
    [["-v", "--dump-plugin"], "no plugin was given on the command line"],
    [["-p", "1", "-U", "x", "null"], "options -p/--port and -U/--unix cannot be used together"],
    [["-p", "abc", "null"], 'option -p/--port: "abc": expected a port number from 0 to 65535'],
    [["-p", "65536", "null"], 'option -p/--port: "65536": expected a port number from 0 to 65535'],
    [
      ["--vsock", "-p", "http", "null"],
      'option -p/--port: "http": expected a port number from 0 to 4294967295',
    ],
    [["-p", "-1", "null"], 'option -p/--port: "-1": expected a port number'],
    [["-p", "", "null"], 'option -p/--port: "": expected a port number'],
    [["-p", "x", "-p", "1", "null"], 'option -p/--port: "x": expected a port number'],
    [["-t", "many", "null"], 'option -t/--threads: "many": expected a number from 0 to 4294967295'],
    [["-t", "-1", "null"], 'option -t/--threads: "-1": expected a number'],
    [["-t", "4294967296", "null"], 'option -t/--threads: "4294967296": expected a number'],
    [["-U", "", "null"], 'option -U/--unix: "": expected the path of a socket'],
    [["-U", `/${"x".repeat(107)}`, "null"], "the path of the socket has 108 bytes"],
    [["-e", "x".repeat(4097), "null"], "the name has 4097 bytes: expected at most 4096"],
    [["-u", "", "null"], 'option -u/--user: "": expected a name or a number'],
    [["-g", "", "null"], 'option -g/--group: "": expected a name or a number'],
    [["--tls-psk", "", "null"], 'option --tls-psk: "": expected the path of a file'],
    [
      ["--tls-certificates=", "null"],
      'option --tls-certificates: "": expected the path of a folder',
    ],
    [["--tls=maybe", "null"], 'option --tls: "maybe": expected off, on or require'],
    [
      ["--log=here", "null"],
      'option --log: "here": expected stderr, syslog, null, default, or the absolute path',
    ],
    [
      ["--mask-handshake=x", "null"],
      'option --mask-handshake: "x": expected a number from 0 to 4294967295',
    ],
    [
      ["--timeout=soon", "null"],
      'option --timeout: "soon": expected a time such as 10, 1.5s, 100ms, 20us or 5ns',
    ],
    [["--timeout=-1", "null"], 'option --timeout: "-1": expected a time'],
    [
      ["--listen=x", "null"],
      'option --listen: "x": expected nbd://HOST:PORT, nbd+unix:///?socket=PATH or',
    ],
    [["--listen=nbds://x", "null"], "option --listen: "],
    [["--listen=nbd://x:y", "null"], "option --listen: "],
    [["--listen=nbd://x/export", "null"], "option --listen: "],
    [
      ["--listen=nbd://:65536", "null"],
      'option --listen: "65536": expected a port number from 0 to 65535',
    ],
    [["--listen=nbd+vsock://2:1", "null"], "expected no context in front of the port"],
    [["--listen=nbd+unix:///?socket=%zz", "null"], "expected a path with correct percent signs"],
    [["--vsock", "-p", "4294967296", "null"], "expected a port number from 0 to 4294967295"],
    [["-p", "1", "-p", "2", "-i", "a", "-i", "b", "-i", "c", "null"], "2 ports and 3 addresses"],
    [["-o", "--tls=require", "null"], "the oldstyle protocol has no TLS"],
    [["--vsock", "-U", "x", "null"], "options --vsock and -U/--unix cannot be used together"],
    [["-s", "-p", "1", "null"], "options -p/--port and -s/--single cannot be used together"],
    [["-s", "--listen=nbd://", "null"], "options --listen and -s/--single cannot be used together"],
    [["-s", "--run", "true", "null"], "options --run and -s/--single cannot be used together"],
    [["-P", "", "null"], 'option -P/--pidfile: "": expected the path of a file'],
    [["-i", "", "null"], 'option -i/--ipaddr: "": expected an address of this machine'],
    [["--filter-release=x", "null"], 'option --filter-release: "x": expected FILTER=RELEASE'],
    [
      ["--filter-release=x=original", "null"],
      'option --filter-release: "x": expected a filter as --filter names it: there is none',
    ],
    [
      ["--filter-generation=x=S", "--filter=./x.so", "--filter=y", "null"],
      'option --filter-generation: "x": expected a filter as --filter names it: "./x.so", "y"',
    ],
    [["-D", "a.b", "null"], 'must have the format NAME.FLAG=N, with N a number of 32 bits: "a.b"'],
    [["--debug=a.b=x", "null"], "-D (Debug Flag) must have the format NAME.FLAG=N"],
    [["--debug=ab=1", "null"], "-D (Debug Flag) must have the format NAME.FLAG=N"],
    [["--debug=.b=1", "null"], "-D (Debug Flag) must have the format NAME.FLAG=N"],
    [["--debug=a.=1", "null"], "-D (Debug Flag) must have the format NAME.FLAG=N"],
    [["--debug=a.b=", "null"], "-D (Debug Flag) must have the format NAME.FLAG=N"],
    [["--debug=a.b=1x", "null"], "-D (Debug Flag) must have the format NAME.FLAG=N"],
    [["--debug=a.b=08", "null"], "-D (Debug Flag) must have the format NAME.FLAG=N"],
    [["--debug=a.b=2147483648", "null"], "-D (Debug Flag) must have the format NAME.FLAG=N"],
    [
      ["--filter-release=x=1.98", "null"],
      `option --filter-release: "x=1.98": expected FILTER=RELEASE, a stable release of nbdkit from 1.2 to ${newestSeries}, such as 1.8, a full version such as 1.21.12, or original`,
    ],
    [
      ["--filter-generation=x=Z", "null"],
      'option --filter-generation: "x=Z": expected FILTER=ID with one of S, A, B, C, D, E, F0, F, f1, G, g1, g2, g3, H, I, i1, J, K, L, M (deprecated: use --filter-release)',
    ],
    [
      ["--filter-release=x=1.8", "--filter-generation=x=C", "--filter=x", "null"],
      'option --filter-generation: "x" cannot be both 1.8 and C',
    ],
    [
      ["--filter-generation=x=C", "--filter-release=x=1.21.12", "--filter=x", "null"],
      'option --filter-release: "x" cannot be both C and 1.21.12',
    ],
  ];

  test.each(refused)("refuses %j", (argv, message) => {
    expect(() => parseCommandLine(argv)).toThrow(message);
  });
});

describe("parseParameters", () => {
  test.each([
    {
      words: ["a=1", "b=", "c==", "d=x=y"],
      magic: undefined,
      pairs: ["a|1", "b|", "c|=", "d|x=y"],
    },
    { words: ["A.b_c-9=1"], magic: undefined, pairs: ["A.b_c-9|1"] },
    { words: ["k=two\nlines"], magic: undefined, pairs: ["k|two\nlines"] },
    { words: ["1M"], magic: "size", pairs: ["size|1M"] },
    { words: ["a=1", "x", "y"], magic: "file", pairs: ["a|1", "file|x", "file|y"] },
    // None of these starts with a valid key.
    {
      words: ["9=a", "=a", "_k=a", "a b=c", "/tmp/a=b"],
      magic: "file",
      pairs: ["file|9=a", "file|=a", "file|_k=a", "file|a b=c", "file|/tmp/a=b"],
    },
    { words: ["disk.sh", "a=1"], magic: undefined, pairs: ["script|disk.sh", "a|1"] },
    { words: [""], magic: "file", pairs: ["file|"] },
  ])("reads $words with main parameter $magic", ({ words, magic, pairs }) => {
    const parsed = parseParameters(words, magic);
    expect(parsed.map((pair) => pair.join("|"))).toEqual([...pairs]);
  });

  test.each([
    { words: ["a=1", "x"], word: "x" },
    { words: ["x", "y"], word: "y" },
  ])("refuses $words without a main parameter", ({ words, word }) => {
    expect(() => parseParameters(words, undefined)).toThrow(
      `expecting key=value on the command line but got: ${word}`,
    );
  });
});
