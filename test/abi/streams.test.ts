/** Stdin that a C module has read ahead, and the exit handlers and destructors that run at the end. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";
import { run } from "#test/server";

import { servers } from "../cli/daemon-fixture.ts";

let folder = "";
let plugin = "";
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "nbdkit-streams-"));
  writeFileSync(join(folder, "input"), "one\ntwo\nthree\n");
  if (haveCompiler) plugin = await compileModule("test/fixtures/reading.c");
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf(!haveCompiler).each([...servers])("%s (needs cc)", (name, command) => {
  /** Runs the server in a shell, with a file as stdin, which the shell then reads to its end. */
  const readOn = async (args: readonly string[]) => {
    const words = [...command, ...args].map((word) => `'${word}'`).join(" ");
    const script = `{ ${words}; echo "status $?"; cat; } <input`;
    const { code, stdout, stderr } = await run(["sh", "-c", script], { cwd: folder });
    // nbdkit may have a parent process, whose exit handlers print the same lines.
    const ends = new Set(stderr.trimEnd().split("\n"));
    return { code, stdout, ends: [...ends].toSorted() };
  };
  const ends = ["atexit", "destructor"];

  test("the command of --run reads the lines after those that the plugin has read", async () => {
    expect(await readOn(["-U", "-", plugin, "--run", "cat"])).toEqual({
      code: 0,
      stdout: "read one\ntwo\nthree\nstatus 0\n",
      ends,
    });
  });

  test("a process that reads stdin after the server gets those lines, too", async () => {
    expect(await readOn(["-U", "-", plugin, "--run", "exit 3"])).toEqual({
      code: 0,
      stdout: "read one\nstatus 3\ntwo\nthree\n",
      ends,
    });
    // With -U - nbdkit leaves a folder behind if it ends early.
    const failing = ["-U", "socket", plugin, "--run", "true", "--user=no-such-user"];
    // nbdkit may also end with the status of the command, if that ends first.
    const status = name === "ours" ? "status 1" : "status [01]";
    expect((await readOn(failing)).stdout).toMatch(
      new RegExp(`^read one\n${status}\ntwo\nthree\n$`),
    );
  });
});
