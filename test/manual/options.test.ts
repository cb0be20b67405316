/** The options in the manual agree with the options of the program. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import {
  longOptions,
  options,
  type OptionSpec,
  shortOptions,
  spellings,
} from "../../src/cli/options.ts";

const root = join(import.meta.dirname, "../..");
const manual = readFileSync(join(root, "docs/nbdkit.md"), "utf8");

const nbdkits = options.filter(({ ours }) => ours === undefined);

/** The options of nbdkit 1.48.1. */
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

test("the manual names the options that nbdkit does not have", () => {
  const words = / that\s+nbdkit\s+does\s+not\s+have:\s+([^.]*)\./.exec(manual)?.[1] ?? "";
  const named = [...words.matchAll(/`([^`]+)`/g)].map((found) => found[1] ?? "");
  const ours = options.filter((option) => option.ours).flatMap(spellings);
  expect(named.toSorted()).toEqual(ours.toSorted());
});

/** The spellings in the form of the manual: `-p PORT` and `--port=PORT`. */
function shownIn(option: OptionSpec): readonly string[] {
  const { value } = option;
  return spellings(option).map((name) => {
    if (value === undefined) return `\`${name}\``;
    return name.startsWith("--") ? `\`${name}=${value}\`` : `\`${name} ${value}\``;
  });
}

test("the manual has a heading with all spellings and values of each option, and no others", () => {
  const headings = [...manual.matchAll(/^### (`-.*)$/gm)].flatMap((found) =>
    (found[1] ?? "").split(", "),
  );
  expect(headings.toSorted()).toEqual(options.flatMap(shownIn).toSorted());
});

test("the main README has a link to the manual", () => {
  expect(readFileSync(join(root, "README.md"), "utf8")).toContain("](docs/nbdkit.md)");
});
