/** Completion for bash and zsh: tests run it in the shells and compare what it offers. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { installed, run } from "#test/server";
import { shellCommand } from "#test/shell";

import { completions, pathOf, withOptions } from "../../scripts/completions.ts";
import { longOptions, shortOptions } from "../../src/cli/options.ts";

// Each test starts the server many times.
setDefaultTimeout(60_000);

const root = join(import.meta.dirname, "../..");
const launcher = join(root, "bin/nbdkit");
const uppercase = join(root, "examples/uppercase/uppercase.ts");
const ours = (kind: string) => readdirSync(join(root, kind));

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-completion-"));
  for (const kind of ["filter", "plugin"]) {
    mkdirSync(join(folder, kind));
    writeFileSync(join(folder, kind, `nbdkit-spare-part-${kind}.so`), "");
  }
  writeFileSync(join(folder, "plugin", "nbdkit-program-plugin"), "");
});
afterAll(() => rmSync(folder, { recursive: true }));

test.each(completions)("%s has the current options (npm run completions)", (name) => {
  expect(readFileSync(pathOf(name), "utf8")).toBe(withOptions(name));
});

async function shell(command: readonly string[], script: string): Promise<string[][]> {
  const env = {
    NBDKIT_FILTERDIR: join(folder, "filter"),
    NBDKIT_PLUGINDIR: join(folder, "plugin"),
  };
  const { code, stdout, stderr } = await run([...command, script], { env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout
    .replace(/\n$/, "")
    .split("\n")
    .map((line) => line.split(" ").filter(Boolean));
}

const filters = [...ours("filters"), "spare-part"].toSorted();
const plugins = [...ours("plugins"), "program", "spare-part"].toSorted();
const all = (text: string) => text.trimEnd().split("\n");

describe.skipIf(!installed("bash"))("the completion for bash (needs bash)", () => {
  /** The completions of the last word of each command line. bash itself splits at =. */
  const offered = (lines: readonly (readonly string[])[]) =>
    shell(
      ["bash", "-c"],
      [
        `. '${root}/completions/nbdkit.bash'`,
        "try() {",
        '  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()',
        '  _nbdkit; echo "${COMPREPLY[*]}"',
        "}",
        ...lines.map((line) => `try '${launcher}' ${shellCommand(line)}`),
      ].join("\n"),
    );

  test("offers options, modules and values of options", async () => {
    const table = [
      { line: ["--dump-"], words: ["--dump-config", "--dump-plugin"] },
      { line: ["null", "--"], words: all(longOptions()) },
      { line: ["-"], words: [...all(shortOptions()), ...all(longOptions())] },
      { line: ["--filter", ""], words: filters },
      { line: ["--filter", "="], words: filters },
      { line: ["--filter", "=", "spare"], words: ["spare-part"] },
      { line: ["-f", "mem"], words: ["memory"] },
      { line: ["--filter", "=", "cow", ""], words: plugins },
      { line: ["-U", "-", ""], words: plugins },
      { line: ["--tls", "="], words: ["off", "on", "require"] },
      { line: ["--tls", "re"], words: ["require"] },
      { line: ["--log", "=", "s"], words: ["stderr", "syslog"] },
      { line: ["-u", "roo"], words: ["root"] },
      { line: ["null", `@${folder}/pl`], words: [`@${folder}/plugin`] },
      { line: ["--name", "n"], words: [] },
      { line: ["--name", "n", "--tls-priority", "N"], words: [] },
      // bash itself adds the names of files.
      { line: ["-P", ""], words: [] },
      { line: ["file", "file", "=", ""], words: [] },
    ];
    const found = await offered(table.map(({ line }) => line));
    expect(table.map(({ line }, i) => ({ line, words: found[i] }))).toEqual(table);
  });

  test("offers parameters of the plugin and the filters", async () => {
    const table = [
      {
        line: ["--filter", "=", "offset", "-U", "-", "memory", ""],
        words: ["allocator=", "offset=", "range=", "size="],
      },
      { line: ["--filter", "offset", "memory", "1M", "o"], words: ["offset="] },
      { line: ["null", "s"], words: ["size="] },
      { line: ["--filter", uppercase, "null", "-r", ""], words: ["size="] },
    ];
    const found = await offered(table.map(({ line }) => line));
    expect(table.map(({ line }, i) => ({ line, words: found[i] }))).toEqual(table);
  });

  test("is registered for nbdkit", async () => {
    const script = `. '${root}/completions/nbdkit.bash'; complete -p nbdkit`;
    const [words] = await shell(["bash", "-c"], script);
    expect(words?.join(" ")).toBe("complete -o default -F _nbdkit nbdkit");
  });
});

describe.skipIf(!installed("zsh"))("the completion for zsh (needs zsh)", () => {
  /** Stand-ins for zsh's helpers, which work only in its editor: they print their arguments. */
  const helpers = [
    'compadd() { local -a a; a=("$@"); print -rn -- "${(@)a:#(--|-S|)} " }',
    "compset() { : }",
    '_call_program() { shift; "$@" }',
    'for f in _files _groups _users _hosts _cmdstring; do functions[$f]="print -rn -- $f \\"\\""; done',
    `try() { words=("$@"); CURRENT=$#words; source '${root}/completions/_nbdkit'; print }`,
  ];
  const offered = (lines: readonly (readonly string[])[]) =>
    shell(
      ["zsh", "-f", "-c"],
      [...helpers, ...lines.map((line) => `try '${launcher}' ${shellCommand(line)}`)].join("\n"),
    );

  test("offers options, modules, values of options, and parameters", async () => {
    // zsh selects those that match.
    const table = [
      { line: ["--dump"], words: [...all(longOptions()), ...all(shortOptions())] },
      { line: ["--filter=x"], words: filters },
      { line: ["--filter", "x"], words: filters },
      { line: ["-f", "x"], words: [...plugins, "_files"] },
      { line: ["--tls="], words: ["off", "on", "require"] },
      { line: ["-u", ""], words: ["_users"] },
      { line: ["--unix="], words: ["_files"] },
      { line: ["--filter=offset", "null", ""], words: ["offset=", "range=", "size=", "_files"] },
      { line: ["null", "file=x"], words: ["_files"] },
      { line: ["null", "@./x"], words: ["_files"] },
    ];
    const found = await offered(table.map(({ line }) => line));
    const sorted = (words: readonly string[]) => words.toSorted();
    expect(table.map(({ line }, i) => ({ line, words: sorted(found[i] ?? []) }))).toEqual(
      table.map(({ line, words }) => ({ line, words: sorted(words) })),
    );
  });
});
