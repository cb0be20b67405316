/** Odd command lines, and what nbdkit makes of them: its exit status, and what it prints. Nothing is served. */
import { expect, test } from "bun:test";

import { run } from "#test/server";

import { parseCommandLine } from "../../src/cli/command-line.ts";
import { longOptions, shortOptions } from "../../src/cli/options.ts";

/**
 * One command line a line. `""` is an empty word, and `_` in a word is a space. Those that would serve
 * end with --version, so that all is parsed and checked, and nothing started.
 */
const lines = `
--help
--version
-V
--dump-config
--long-options
--short-options
--dump-plugin
--help --version
--version --help
--help -V --help
-V -V
--dump-plugin --help
--version --dump-plugin
-v --help
-fv --version
-f -v --version
-vfV
-fvrnV
-46V
-64V
-rV -f
-Vt4
-Vt 4
-V -t4
-V -t 4
-Vt
-t
-V -p1
-Vp1
-Vfp 1
-Vp
-x
-fx
-xV
-Vx
-V1
-V=1
-f=1
-5
-W foo
-W
-?
-h
-hV
-Z --version
--foo
--foo --version
--version --foo
--help --foo
--foo --help
--foo --dump-config
--dump-config --foo
--dump-config -x
-x --dump-config
--long-options --foo
--foo --long-options
--short-options -x
-x --short-options
--dump-config --long-options
--short-options --dump-config
--dump-config null
null --dump-config
null --long-options
null x y z --short-options
null --help
--help null
null --version
--version null
null --dump-plugin
--dump-plugin null
null --dump-plugin --version
null --dump-plugin --help
null --help --version
--version=1
--help=yes
--dump-config=1
--foreground=1
--verbose=
--readonly=false
--long-options=x
--port
--port= --version
--run
--filter
--unix
--exportname
--threads
--tls
--tls-psk
--pidfile
--user
--group
--debug
--log
--mask-handshake
--selinux-label
--ipaddr
-e
-D
-g
-i
-P
-u
-U
--ver
--vers
--versi
--v
--verb --version
--hel
--h
--he
--dump
--dump-
--dump-p
--dump-c
--dump-plug null
--d
--de=a.b=1 --version
--lon
--long
--l
--lo
--shor
--short
--s
--si --version
--se=x --version
--fo --version
--f
--fi=x --help
--no-f --version
--new --version
--newstyl --version
--old --version
--o --version
--ex --version
--exp x --version
--expo=x --version
--export x --version
--export-=x --version
--exportn=x --version
--export-n x --version
--exit --version
--exi --version
--i=1
--ip=1
--ipa=1 --version
--ip-=1 --version
--ipv --version
--ipv4 --version
--ipv6- --version
--p=1
--po=1 --version
--pi=x --version
--pid=x --version
--pid-=x --version
--read --version
--reado --version
--read-o --version
--re --version
--ru=true --version
--r=x
--m=1 --version
--mask 1 --version
--t=1
--th=1 --version
--tl=off
--tls=off --version
--tls-c=/ --version
--tls-p=/ --version
--tls-v --version
--tls- --version
--u=x
--un=x --version
--us=x --version
--vs --version
--g=x --version
--gr x --version
--
-- --version
--dump-plugin -- null
-- -V
-r -- --help
-r -- null --version
--dump-plugin -r -- null 1M
null -- --version
null -- --help
--version --
--version -- null
--version null --
--version -- null --
--version null -- --
--help --
--dump-config -- --foo
-V - -
null - --version
-
- -V
"" --version
"" --help
null "" --version
null a=b --version
null a= = --version
null a=b -r c=d -v e --version
a null --version
--version a b c
null -r --filter=nosuch --version
-t 0 --version
-t 1 --version
-t 16 null --version
-t 010 --version
-t 0x10 --version
-t 0X1f --version
-t 0x --version
-t 08 --version
-t +1 --version
-t -1 --version
-t _1 --version
-t _-1 --version
-t 1_ --version
-t 1k --version
-t one --version
-t "" --version
-t 4294967295 --version
-t 4294967296 --version
-t 99999999999999999999 --version
-t 1 -t x --version
-t x -t 1 --version
-t=1 --version
--threads= --version
--threads=1 --version
--threads 1 --version
--threads --version
--tls=on --version
--tls=off --version
--tls=require --version
--tls=required --version
--tls=force --version
--tls=REQUIRE --version
--tls=Force --version
--tls=1 --version
--tls=0 --version
--tls=t --version
--tls=F --version
--tls=y --version
--tls=N --version
--tls=Yes --version
--tls=TRUE --version
--tls=OFF --version
--tls=maybe --version
--tls= --version
--tls=2 --version
--tls=_on --version
--tls --version
--tls -V
--tls=maybe --dump-config
--dump-config --tls=maybe
--tls-verify-peer --version
--tls-verify-peer=1
--tls-psk=/nowhere --version
--tls-certificates=/nowhere --version
--log=stderr --version
--log=syslog --version
--log=null --version
--log=STDERR --version
--log=file --version
--log= --version
--mask-handshake=0 --version
--mask-handshake=3 --version
--mask-handshake=0xff --version
--mask-handshake=-1 --version
--mask-handshake=x --version
--mask-handshake=4294967295 --version
--mask-handshake=4294967296 --version
-D a.b=1 --version
-D a.b=-1 --version
-D a.b=0x7fffffff --version
-D nbdkit.backend.datapath=0 --version
-D a.b.c.d=1 --version
-D a --version
-D a.b --version
-D a=1 --version
-D .b=1 --version
-D a.=1 --version
-D a.b= --version
-D a.b=x --version
-D a.b=1x --version
-D "" --version
-D x --dump-config
-Da.b=1 --version
--debug=a.b=1 --version
--debug a.b=1 null --version
-U - --version
-U - null --version
-U- null --version
-U /tmp/x null --version
-U relative null --version
-U "" --version
--unix=- null --version
-U - -U x null --version
-P x --version
-P "" --version
-P x -P y null --version
--pid-file=x null --version
-e "" null --version
-e x -e y null --version
-e -V
-e -- null --version
-e --help null --version
-u nosuchuser --version
-g nosuchgroup null --version
-u 0 -g 0 null --version
-i localhost null --version
-i ::1 -p 1 null --version
-i a -i b null --version
-p 1 null --version
-p 1 -p 2 null --version
-p 10809 --version
--vsock null --version
--vsock -p 1 null --version
--vsock -i x null --version
--swap null --version
--swap --exit-with-parent null --version
--exit-with-parent null --version
--run true null --version
--run "" null --version
--run true -f null --version
--run a --run b null --version
--run true -p 1 null --version
--run true --vsock null --version
--run true -U - null --version
--selinux-label=x null --version
-s null --version
-s -s null --version
-s -f null --version
-s -i x null --version
-s --version
-s -4 -r null --version
--stdin null --version
--single null --version
-n null --version
-o null --version
-n -o null --version
-o -n null --version
-o --tls=on null --version
-o --tls=require --help
-o --tls=require --version
-o --tls=require --dump-config
-o --tls=require null --version
-o --tls=require null --help
-o --tls=require null --dump-plugin
--tls=force -o null --version
--tls=require --tls=off -o null --version
--tls=off --tls=require -o null --version
-p 1 -U x --help
-p 1 -U x --version
-p 1 -U x --dump-config
-p 1 -U x --dump-plugin
-p 1 -U x
-p 1 -U x null --version
-U x -p 1 null --help
-U - -p 1 null --dump-plugin
-s -p 1 null --version
-p 1 -s null --version
-s -U x null --version
-U - -s null --help
-s --run true null --version
--run true -s null --version
--run "" -s null --version
-s --dump-plugin null
--dump-plugin -s null --version
-s --dump-plugin --version
--vsock -U x null --version
-U - --vsock null --version
--vsock -s null --version
-s --vsock null --help
--vsock -U x --version
--dump-plugin --run true null
--no-sr null --version
--no-s --version
--no --version
-4 -6 null --version
-6 --ipv4-only null --version
-r -r -r null --version
--read-only --readonly null --version
--old-style null --version
--new-style null --version
--no-fork null --version
--ip-addr x null --version
--export-name=x null --version
--filter= null --version
--filter=nosuch null --version
nosuchplugin --version
./nosuch.so --version
/nowhere/nosuch.so --help
`
  .trim()
  .split("\n");

const wordsOf = (line: string) =>
  line.split(" ").map((word) => (word === '""' ? "" : word.replaceAll("_", " ")));

const quoted = (word: string) => `'${word.replaceAll("'", String.raw`'\''`)}'`;

/** What the lines of stdout are. */
function kindOf(stdout: string): string {
  if (/^(nbdkit \[-4|Usage: nbdkit)/.test(stdout)) return "help";
  if (/^nbdkit [0-9]/.test(stdout)) return "version";
  if (stdout.startsWith("binary=")) return "dump-config";
  if (stdout.startsWith("path=")) return "dump-plugin";
  if (stdout.startsWith("-4\n")) return "short-options";
  if (stdout.startsWith("--")) return "long-options";
  return stdout;
}

/** For all lines at once: status and kind. One shell runs them, since each takes but a moment. */
async function theirs(): Promise<readonly string[]> {
  const script = lines.map((line) => {
    const command = ["nbdkit", ...wordsOf(line)].map(quoted).join(" ");
    return `${command} </dev/null 2>/dev/null | head -c 10; printf '\\001%d\\002' "\${PIPESTATUS[0]}"\n`;
  });
  const { stdout } = await run(["bash", "-c", script.join("")]);
  const parts = stdout.split("\u0002").slice(0, -1);
  return parts.map((part) => {
    const [text = "", status] = part.split("\u0001");
    return `${status} ${kindOf(text)}`.trim();
  });
}

/** As `nbdkit` would end. What is loaded is there, where a line with it is to succeed. */
function ours(line: string): string {
  try {
    const parsed = parseCommandLine(wordsOf(line));
    switch (parsed.kind) {
      case "print":
        return `0 ${parsed.what}`;
      case "usage":
        return "1 help";
      case "load": {
        const { plugin, filters } = parsed.settings;
        // Lines that come so far give null a parameter that is no size.
        const fails = plugin !== "null" || filters.length > 0 || parsed.action === "serve";
        return fails ? "1" : `0 ${parsed.action}`;
      }
      default:
        return parsed.kind;
    }
  } catch {
    return "1";
  }
}

/** Where ours is not to be as nbdkit is: each with what is right. */
const differences: Readonly<Record<string, string>> = {
  // No port; nbdkit says so only when it listens.
  "--port= --version": "1",
};

const nbdkit = Bun.which("nbdkit");

test.skipIf(nbdkit === null)(
  `${lines.length} command lines end as nbdkit ends them (needs nbdkit)`,
  async () => {
    const expected = await theirs();
    const pairs = lines.map((line, index) => {
      const right = differences[line] ?? expected[index];
      return { line, expected: right, ours: ours(line) };
    });
    expect(pairs.filter((pair) => pair.expected !== pair.ours)).toEqual([]);
    expect(expected.length).toBe(lines.length);
  },
  60_000,
);

test.skipIf(nbdkit === null)(
  "every option that nbdkit lists is listed (needs nbdkit)",
  async () => {
    for (const [option, list] of [
      ["--long-options", longOptions()],
      ["--short-options", shortOptions()],
    ] as const) {
      const { stdout } = await run(["nbdkit", option]);
      const listed = list.split("\n");
      expect(stdout.split("\n").filter((name) => !listed.includes(name))).toEqual([]);
    }
  },
);
