/** The log on a terminal, where messages of modules cannot control the terminal. */
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { installed, isListening, program, run } from "#test/server";
import { shellCommand } from "#test/shell";

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

/** It shuts the server down once clients can connect. */
const ending = `
import { definePlugin, shutdown } from "nbdkit";

export default definePlugin({
  name: "ending",
  afterFork: () => void setImmediate(shutdown),
  open: () => ({}),
  getSize: () => 512n,
  pread() {},
});
`;

interface Printed {
  readonly code: number;
  /** Without the server's own debug lines. */
  readonly lines: readonly string[];
}

async function printed(command: readonly string[]): Promise<Printed> {
  const { code, stdout, stderr } = await run(command);
  const lines = `${stderr}${stdout}`.replaceAll("\r\n", "\n").split("\n");
  return { code, lines: lines.filter((line) => /quiet|loud|warning/.test(line)) };
}

/** The command with a terminal as stdout and stderr. `exec` replaces the shell of script(1), which gets Ctrl-C too. */
function onTerminal(command: readonly string[]): readonly string[] {
  const shell = `exec ${shellCommand(command)}`;
  return ["script", "--quiet", "--return", "--command", shell, "/dev/null"];
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

/** The server adds the name of a TypeScript layer, but not that of a C module. */
const named = (language: string) => (language === "C" ? "" : "talking: ");
const quiet = (language: string) => `debug: ${named(language)}quiet\\t\\x1b[2J\\n\\x7fü \\\\n`;
const loud = (language: string) => `error: ${named(language)}loud ü \\n`;

describe.each(modules)("a message of a %s plugin", (language, make) => {
  const lines = [`nbdkit: ${quiet(language)}`, `nbdkit: ${loud(language)}`] as const;
  const commandFor = async (folder: Folder) => [...program, "-v", await make(folder), "--version"];

  test("has its control characters escaped in debug lines", async () => {
    using folder = new Folder();
    const command = await commandFor(folder);
    expect(await printed(command)).toEqual({ code: 0, lines });
  });

  test.skipIf(!installed("script"))(
    "is bold on a terminal, and red if it is an error (needs script)",
    async () => {
      using folder = new Folder();
      expect(await printed(onTerminal(await commandFor(folder)))).toEqual({
        code: 0,
        lines: [`\x1b[1m${lines[0]}`, `\x1b[0m\x1b[1;31m${lines[1]}`],
      });
    },
  );
});

describe.each(modules)("a %s plugin", (language, make) => {
  test.each([
    ["in", "nbdkit[in]"],
    ["", "nbdkit[]"],
    ["two\nlines %s \x1b[2J", "nbdkit[two\\nlines %s \\x1b[2J]"],
  ])("starts its lines as the server does with --name=%j", async (name, start) => {
    using folder = new Folder();
    const args = ["-v", `--name=${name}`, "-D", "no.such=1", await make(folder), "--version"];
    const { code, stderr } = await run([...program, ...args]);
    const lines = stderr.trimEnd().split("\n");
    expect({ code, others: lines.filter((line) => !line.startsWith(`${start}: `)) }).toEqual({
      code: 0,
      others: [],
    });
    const rest = lines.map((line) => line.slice(start.length));
    expect(rest).toContain(`: ${quiet(language)}`);
    expect(rest).toContain(`: ${loud(language)}`);
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

  test.skipIf(!installed("nbdkit"))("errors of nbdkit are also red (needs nbdkit)", async () => {
    const { code, stdout } = await run(onTerminal(["nbdkit", ...wrong]));
    expect(code).toBe(1);
    expect(stdout).toStartWith(start);
    expect(stdout).toEndWith("\r\n\x1b[0m");
  });

  test("warnings and the server's own debug lines are plain", async () => {
    const args = ["-v", "-D", "no.such=1", "null", "--version"];
    const { code, stdout } = await run(onTerminal([...program, ...args]));
    expect(code).toBe(0);
    expect(stdout).toContain("nbdkit: warning: debug flag -D no.such was not used\r\n");
    expect(stdout).not.toContain("\x1b");
  });

  test("a server in the foreground prints its addresses, and Ctrl-C stops it", async () => {
    using folder = new Folder();
    const socket = folder.file("sock");
    const command = onTerminal([...program, "-f", "-U", socket, "null"]);
    await using child = {
      process: Bun.spawn([...command], { stdio: ["pipe", "pipe", "pipe"] }),
      async [Symbol.asyncDispose]() {
        this.process.kill("SIGKILL");
        await this.process.exited;
      },
    };
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of child.process.stdout) {
      text += decoder.decode(chunk, { stream: true });
      if (!text.endsWith("stops it\r\n")) continue;
      expect(isListening(socket)).toBe(true);
      void child.process.stdin.write("\x03");
      void child.process.stdin.flush();
    }
    expect(text).toBe(`nbdkit: serving nbd+unix://?socket=${socket}: Ctrl-C stops it\r\n^C`);
    expect(await child.process.exited).toBe(0);
  });

  test("a server prints no addresses with --run, or if its messages go to a file", async () => {
    using folder = new Folder();
    const served = await run(onTerminal([...program, "null", "--run", "true"]));
    expect(served).toEqual({ code: 0, stdout: "", stderr: "" });
    const log = folder.file("log");
    writeFileSync(log, "");
    const args = ["-f", "-U", folder.file("sock"), `--log=${log}`, folder.file("ending.ts")];
    writeFileSync(folder.file("ending.ts"), ending);
    expect(await run(onTerminal([...program, ...args]))).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
    expect(readFileSync(log, "utf8")).toBe("");
  });

  test("messages to a file are plain", async () => {
    using folder = new Folder();
    const log = join(folder.path, "log");
    const { stdout } = await run(onTerminal([...program, `--log=${log}`, ...wrong]));
    expect(stdout).toBe("");
    expect(await Bun.file(log).text()).toMatch(/^nbdkit: error: .*\n$/);
  });
});
