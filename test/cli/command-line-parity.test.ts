/** Odd command lines exit with the same status as in nbdkit and print the same kind of text. Nothing is served. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";
import { shellCommand } from "#test/shell";

import { parseCommandLine } from "../../src/cli/command-line.ts";
import { longOptions, shortOptions } from "../../src/cli/options.ts";

/**
 * One command line per line. `""` is an empty argument, and `_` is a space. Lines that would serve end
 * with --version: everything is parsed and checked, but nothing is started.
 */
const lines = readFileSync(join(import.meta.dirname, "command-lines.txt"), "utf8")
  .trim()
  .split("\n");

const wordsOf = (line: string) =>
  line.split(" ").map((word) => (word === '""' ? "" : word.replaceAll("_", " ")));

/** Which option prints this. */
function kindOf(stdout: string): string {
  if (/^(nbdkit \[-4|Usage: nbdkit)/.test(stdout)) return "help";
  if (/^nbdkit [0-9]/.test(stdout)) return "version";
  if (stdout.startsWith("binary=")) return "dump-config";
  if (stdout.startsWith("path=")) return "dump-plugin";
  if (stdout.startsWith("-4\n")) return "short-options";
  if (stdout.startsWith("--")) return "long-options";
  return stdout;
}

/** The status and kind of output of each line. One shell runs them all, since each takes only a moment. */
async function theirs(): Promise<readonly string[]> {
  const script = lines.map((line) => {
    const command = shellCommand(["nbdkit", ...wordsOf(line)]);
    return `${command} </dev/null 2>/dev/null | head -c 10; printf '\\001%d\\002' "\${PIPESTATUS[0]}"\n`;
  });
  const { stdout } = await run(["bash", "-c", script.join("")]);
  const parts = stdout.split("\u0002").slice(0, -1);
  return parts.map((part) => {
    const [text = "", status] = part.split("\u0001");
    return `${status} ${kindOf(text)}`.trim();
  });
}

/** The same for this server, without running it: of the modules in the lines, only the plugin null loads. */
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
        // Lines that get this far give null a parameter that is not a size.
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

/** Lines that intentionally end differently from nbdkit, with their result here. */
const differences: Readonly<Record<string, string>> = {
  // Not a port, which nbdkit reports only when it listens.
  "--port= --version": "1",
  // nbdkit 1.46 added --tls-priority, so --tls-p no longer means only --tls-psk.
  "--tls-p=/ --version": "1 help",
};

const nbdkit = Bun.which("nbdkit");

test.skipIf(nbdkit === null)(
  `${lines.length} command lines end as in nbdkit (needs nbdkit)`,
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
  "--long-options and --short-options list every option of nbdkit (needs nbdkit)",
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
