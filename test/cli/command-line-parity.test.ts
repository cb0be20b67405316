/** Odd command lines, and what nbdkit makes of them: its exit status, and what it prints. Nothing is served. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "#test/server";

import { parseCommandLine } from "../../src/cli/command-line.ts";
import { longOptions, shortOptions } from "../../src/cli/options.ts";

/**
 * One command line a line. `""` is an empty word, and `_` in a word is a space. Those that would serve
 * end with --version, so that all is parsed and checked, and nothing started.
 */
const lines = readFileSync(join(import.meta.dirname, "command-lines.txt"), "utf8")
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
  // Since --tls-priority, of nbdkit 1.46, --tls-p may mean that as well as --tls-psk.
  "--tls-p=/ --version": "1 help",
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
