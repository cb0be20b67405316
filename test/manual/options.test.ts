/** The options in the manual: that it and the options of the program say the same. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { longNames, longOptions, options, shortOptions } from "../../src/cli/options.ts";
import { testsOfOptions } from "./tests-of-options.ts";

const root = join(import.meta.dirname, "../..");
const manual = readFileSync(join(root, "docs/nbdkit.md"), "utf8");

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

test("the server has every option of nbdkit in all its spellings", () => {
  expect(nbdkits.flatMap(spellings).toSorted()).toEqual(newest.toSorted());
});

test("--long-options and --short-options print all options but themselves", () => {
  const printed = [...longOptions().split("\n"), ...shortOptions().split("\n")].filter(Boolean);
  const both = ["--long-options", "--short-options"];
  expect([...printed, ...both].toSorted()).toEqual(options.flatMap(spellings).toSorted());
});

test("each option of nbdkit has a test", () => {
  expect(Object.keys(testsOfOptions).toSorted()).toEqual(
    nbdkits.map((option) => spellings(option)[0] ?? "").toSorted(),
  );
  const without = Object.entries(testsOfOptions).filter(([, tests]) => tests.length === 0);
  const dead = Object.values(testsOfOptions)
    .flat()
    .filter((path) => !existsSync(join(root, "test", `${path}.test.ts`)));
  expect({ without, dead }).toEqual({ without: [], dead: [] });
});

test("the manual names the options that nbdkit does not have", () => {
  const words = / that\s+nbdkit\s+does\s+not\s+have:\s+([^.]*)\./.exec(manual)?.[1] ?? "";
  const named = [...words.matchAll(/`([^`]+)`/g)].map((found) => found[1] ?? "");
  const ours = options.filter((option) => option.ours).flatMap(spellings);
  expect(named.toSorted()).toEqual(ours.toSorted());
});

test("the manual describes every option, and the main README leads to it", () => {
  const described = [...manual.matchAll(/^### (`-.*)$/gm)].flatMap((found) =>
    [...(found[1] ?? "").matchAll(/`(-[^` =]+)/g)].map((name) => name[1] ?? ""),
  );
  expect(described.toSorted()).toEqual(options.flatMap(spellings).toSorted());
  expect(readFileSync(join(root, "README.md"), "utf8")).toContain("](docs/nbdkit.md)");
});
