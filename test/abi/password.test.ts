/** nbdkit_read_password: from the terminal, a file or a descriptor. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { installed, program, run } from "#test/server";

let folder = "";
let words: readonly string[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-password-"));
  if (!haveCompiler) return;
  const filter = await compileModule("test/fixtures/parsing.c");
  words = [...program, "-v", `--filter=${filter}`, "null"];
});
afterAll(() => rmSync(folder, { recursive: true }));

const asks = (value: string): string[] => [...words, `read-password=${value}`, "--dump-plugin"];
const quote = (command: readonly string[]): string => command.map((word) => `'${word}'`).join(" ");

/** Runs the script on a terminal and types `typed` at the prompt. Returns what the terminal shows. */
async function onTerminal(script: string, typed: string): Promise<string> {
  const child = Bun.spawn(["script", "-qec", script, "/dev/null"], {
    cwd: folder,
    stdio: ["pipe", "pipe", "inherit"],
  });
  let shown = "";
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    const asked = shown.includes("password: ");
    shown += part;
    if (asked || !shown.includes("password: ")) continue;
    void child.stdin.write(typed);
    void child.stdin.flush();
  }
  void child.stdin.end();
  expect(await child.exited).toBe(0);
  return shown;
}

const fileOf = (name: string): string => readFileSync(join(folder, name), "utf8");

test.skipIf(!haveCompiler || !installed("script")).each([
  ["", "stdin is the terminal"],
  ["</dev/null", "stdin is /dev/null"],
])(
  "the terminal hides the password and echoes again afterwards: stdin %p (needs cc and script)",
  async (stdin) => {
    const script = `${quote(asks("-"))} ${stdin} >output 2>errors; stty -a >after`;
    expect(await onTerminal(script, "secret\n")).not.toContain("secret");
    expect(fileOf("errors")).toContain("read-password=- -> secret\n");
    expect(fileOf("output")).not.toContain("password: ");
    expect(fileOf("after")).toMatch(/ echo /);
  },
);

test.skipIf(!haveCompiler || !installed("script"))(
  "the terminal echoes again after Ctrl-C at the prompt (needs cc and script)",
  async () => {
    const script = `trap : INT; ${quote(asks("-"))} 2>errors; echo $? >status; stty -a >after`;
    await onTerminal(script, "\x03");
    expect(fileOf("status")).toBe("130\n");
    expect(fileOf("after")).toMatch(/ echo /);
  },
);

test.skipIf(!haveCompiler || !installed("setsid"))(
  "nbdkit_read_password fails without a terminal (needs cc and setsid)",
  async () => {
    const { code, stderr } = await run(["setsid", "--wait", ...asks("-")]);
    expect(code).toBe(0);
    expect(stderr).toContain("error: password=-: stdin is not a tty");
    expect(stderr).toContain("read-password=- -> -1\n");
  },
);

test.skipIf(!haveCompiler)("files and descriptors supply passwords (needs cc)", async () => {
  writeFileSync(join(folder, "password"), "se cret\nmore\n");
  const answers = [
    ["plain", "plain"],
    ["+password", "se cret"],
    ["-3", "se cret"],
    ["+gone", "NULL", "could not open gone to read the password: No such file or directory"],
    ["-0", "NULL", "cannot use password -FD for stdin/stdout/stderr"],
    ["-2", "NULL", "cannot use password -FD for stdin/stdout/stderr"],
    ["-x", "NULL", 'password file descriptor: could not parse number: "x"'],
    ["-3x", "NULL", 'password file descriptor: could not parse number: "3x"'],
    ["--3", "NULL", "password file descriptor: --3: expected no negative number"],
    ["-9999999999", "NULL", 'password file descriptor: could not parse number: "9999999999"'],
  ] as const;
  for (const [value, password, message] of answers) {
    const script = `${quote(asks(value))} 3<password`;
    const { code, stderr } = await run(["sh", "-c", script], { cwd: folder });
    expect(code).toBe(0);
    expect(stderr).toContain(`read-password=${value} -> ${password}\n`);
    if (message !== undefined) expect(stderr).toContain(`error: ${message}`);
  }
});
