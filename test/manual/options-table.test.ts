/** The table of nbdkit's options in the manual: that it and the options of the program say the same. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { longNames, longOptions, options, shortOptions } from "../../src/cli/options.ts";

const root = join(import.meta.dirname, "../..");
const manual = readFileSync(join(root, "docs/nbdkit.md"), "utf8");

interface Row {
  readonly names: readonly string[];
  readonly here: string;
  readonly tests: readonly string[];
}

const rows: readonly Row[] = (manual.split("## Options of nbdkit\n")[1] ?? "")
  .split("\n")
  .filter((line) => line.startsWith("| `"))
  .map((line) => {
    const [, names = "", here = "", tests = ""] = line.split("|").map((text) => text.trim());
    return {
      names: [...names.matchAll(/`([^`]+)`/g)].map((found) => found[1] ?? ""),
      here,
      tests: [...tests.matchAll(/\]\(\.\.\/([^)]+)\)/g)].map((found) => found[1] ?? ""),
    };
  });

const spellings = (option: (typeof options)[number]) => [
  ...(option.letter === undefined ? [] : [`-${option.letter}`]),
  ...longNames(option).map((name) => `--${name}`),
];
const nbdkits = options.filter(({ ours }) => ours === undefined);

/** Of nbdkit 1.48.1. */
const newest = `
  -4 -6 -D -P -U -V -e -f -g -i -n -o -p -r -s -t -u -v --debug --dump-config --dump-plugin --exit-with-parent --export
  --export-name --exportname --filter --foreground --group --help --ip-addr --ipaddr --ipv4-only --ipv6-only
  --keep-alive --keepalive --log --long-options --mask-handshake --name --new-style --newstyle --no-fork --no-mc
  --no-meta-contexts --no-sr --no-structured-replies --old-style --oldstyle --pid-file --pidfile --port --print-uri
  --print-url --read-only --readonly --run --selinux-label --short-options --show-uri --show-url --single --stdin
  --swap --threads --time-out --timeout --tls --tls-certificates --tls-priority --tls-psk --tls-verify-peer --unix --user --verbose
  --version --vsock
`
  .trim()
  .split(/\s+/);

describe("the table of options", () => {
  test("has every option of nbdkit in all its spellings, and no other", () => {
    const listed = rows.flatMap(({ names }) => names);
    expect(listed.toSorted()).toEqual(newest.toSorted());
    expect(rows.map(({ names }) => names)).toEqual(nbdkits.map(spellings));
  });

  test("says yes to exactly what --long-options and --short-options print", () => {
    const listed = rows.filter(({ here }) => here === "yes").flatMap(({ names }) => names);
    const ours = options.filter((option) => option.ours).flatMap(spellings);
    const printed = [...longOptions().split("\n"), ...shortOptions().split("\n")].filter(Boolean);
    const both = ["--long-options", "--short-options"];
    expect([...listed, ...ours].toSorted()).toEqual([...printed, ...both].toSorted());
    expect(rows.filter(({ here }) => here !== "yes")).toEqual([]);
  });

  test("names a test for each that is there", () => {
    const without = rows.filter(({ here, tests }) => here === "yes" && tests.length === 0);
    const dead = rows.flatMap(({ tests }) => tests.filter((path) => !existsSync(join(root, path))));
    expect({ without, dead }).toEqual({ without: [], dead: [] });
  });
});

test("the manual describes every option, and the main README leads to it", () => {
  const described = [...manual.matchAll(/^### (`-.*)$/gm)].flatMap((found) =>
    [...(found[1] ?? "").matchAll(/`(-[^` =]+)/g)].map((name) => name[1] ?? ""),
  );
  expect(described.toSorted()).toEqual(options.flatMap(spellings).toSorted());
  expect(readFileSync(join(root, "README.md"), "utf8")).toContain("](docs/nbdkit.md)");
});
