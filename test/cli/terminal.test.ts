/** What the log looks like on a terminal, and that what modules say cannot change the terminal. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { installed, program, run } from "#test/server";

import { Folder } from "./daemon-fixture.ts";

const typescript = `
import { debug, definePlugin, error } from "nbdkit";

export default definePlugin({
  name: "talking",
  load() {
    debug("quiet\\t\\x1b[2J\\n\\x7fü \\\\n");
    error("loud ü \\\\n");
  },
  open: () => ({}),
  getSize: () => 512n,
  pread() {},
});
`;

interface Printed {
  readonly code: number;
  /** Without what the server itself tells. */
  readonly lines: readonly string[];
}

async function printed(command: readonly string[]): Promise<Printed> {
  const { code, stdout, stderr } = await run(command);
  const lines = `${stderr}${stdout}`.replaceAll("\r\n", "\n").split("\n");
  return { code, lines: lines.filter((line) => /quiet|loud|warning/.test(line)) };
}

/** The command with a terminal for stdout and stderr. */
function onTerminal(command: readonly string[]): readonly string[] {
  const words = command.map((word) => `'${word}'`).join(" ");
  return ["script", "--quiet", "--return", "--command", words, "/dev/null"];
}

const modules: readonly (readonly [string, (folder: Folder) => Promise<string>])[] = [
  [
    "TypeScript",
    async (folder) => {
      writeFileSync(folder.file("talking.ts"), typescript);
      return folder.file("talking.ts");
    },
  ],
  ...(haveCompiler ? [["C", () => compileModule("test/fixtures/talking.c")] as const] : []),
];

const quiet = "nbdkit: debug: quiet\\t\\x1b[2J\\n\\x7fü \\\\n";
const loud = "nbdkit: error: loud ü \\n";

describe.each(modules)("what a plugin in %s says", (_language, make) => {
  const spoken = async (folder: Folder) => [...program, "-v", await make(folder), "--version"];

  test("has no characters in debug lines that a terminal would obey", async () => {
    using folder = new Folder();
    const command = await spoken(folder);
    expect(await printed(command)).toEqual({ code: 0, lines: [quiet, loud] });
  });

  test.skipIf(!installed("script"))(
    "is bold on a terminal, and errors are red (needs script)",
    async () => {
      using folder = new Folder();
      const { code, lines } = await printed(onTerminal(await spoken(folder)));
      expect(code).toBe(0);
      expect(lines).toEqual([`\x1b[1m${quiet}`, `\x1b[0m\x1b[1;31m${loud}`]);
    },
  );
});

describe.each(modules)("with --name, a plugin in %s", (_language, make) => {
  test.each([
    ["in", "nbdkit[in]"],
    ["", "nbdkit[]"],
    ["two\nlines %s \x1b[2J", "nbdkit[two\\nlines %s \\x1b[2J]"],
  ])("starts its lines as the server does: %j", async (name, start) => {
    using folder = new Folder();
    const args = ["-v", `--name=${name}`, "-D", "no.such=1", await make(folder), "--version"];
    const { code, stderr } = await run([...program, ...args]);
    const lines = stderr.trimEnd().split("\n");
    expect({ code, others: lines.filter((line) => !line.startsWith(`${start}: `)) }).toEqual({
      code: 0,
      others: [],
    });
    const rest = lines.map((line) => line.slice(start.length));
    expect(rest).toContain(": debug: quiet\\t\\x1b[2J\\n\\x7fü \\\\n");
    expect(rest).toContain(": error: loud ü \\n");
    expect(rest).toContain(": warning: debug flag -D no.such was not used");
  });
});

describe.skipIf(!installed("script"))("on a terminal (needs script)", () => {
  const wrong = ["null", "--run", "true", "no-such-key=1"];
  const start = "\x1b[1;31mnbdkit: error: ";

  test("errors of the server are red", async () => {
    const { code, stdout } = await run(onTerminal([...program, ...wrong]));
    expect(code).toBe(1);
    expect(stdout).toStartWith(start);
    expect(stdout).toEndWith("\r\n\x1b[0m");
  });

  test.skipIf(!installed("nbdkit"))("errors of nbdkit are red, too (needs nbdkit)", async () => {
    const { code, stdout } = await run(onTerminal(["nbdkit", ...wrong]));
    expect(code).toBe(1);
    expect(stdout).toStartWith(start);
    expect(stdout).toEndWith("\r\n\x1b[0m");
  });

  test("warnings and the server's own debug lines are as elsewhere", async () => {
    const args = ["-v", "-D", "no.such=1", "null", "--version"];
    const { code, stdout } = await run(onTerminal([...program, ...args]));
    expect(code).toBe(0);
    expect(stdout).toContain("nbdkit: warning: debug flag -D no.such was not used\r\n");
    expect(stdout).not.toContain("\x1b");
  });

  test("what goes to a file is plain", async () => {
    using folder = new Folder();
    const log = join(folder.path, "log");
    const { stdout } = await run(onTerminal([...program, `--log=${log}`, ...wrong]));
    expect(stdout).toBe("");
    expect(await Bun.file(log).text()).toMatch(/^nbdkit: error: .*\n$/);
  });
});
