/** What C modules read ahead of stdin or keep in their streams, and how the process ends for them. */
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
  /** What a shell prints that runs the server with a file for stdin, and then reads on. */
  const readOn = async (args: readonly string[]) => {
    const words = [...command, ...args].map((word) => `'${word}'`).join(" ");
    const script = `{ ${words}; echo "status $?"; cat; } <input`;
    const { code, stdout, stderr } = await run(["sh", "-c", script], { cwd: folder });
    // nbdkit's parent, where there is one, ends as well.
    const ends = new Set(stderr.trimEnd().split("\n"));
    return { code, stdout, ends: [...ends].toSorted() };
  };
  const ends = ["atexit", "destructor"];

  test("the command of --run reads what the plugin has left", async () => {
    expect(await readOn(["-U", "-", plugin, "--run", "cat"])).toEqual({
      code: 0,
      stdout: "read one\ntwo\nthree\nstatus 0\n",
      ends,
    });
  });

  test("what reads stdin after the server gets the rest as well", async () => {
    expect(await readOn(["-U", "-", plugin, "--run", "exit 3"])).toEqual({
      code: 0,
      stdout: "read one\nstatus 3\ntwo\nthree\n",
      ends,
    });
    // nbdkit's own -U - leaves a folder behind where it ends early.
    const failing = ["-U", "socket", plugin, "--run", "true", "--user=no-such-user"];
    // nbdkit's own may also end with the status of the command, if that ends first.
    const status = name === "ours" ? "status 1" : "status [01]";
    expect((await readOn(failing)).stdout).toMatch(
      new RegExp(`^read one\n${status}\ntwo\nthree\n$`),
    );
  });
});
