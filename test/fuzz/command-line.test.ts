/** The command lines of both fuzzers: --help and mistakes. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";

import { run } from "#test/server";

describe.each(["main.ts", "genuine/main.ts"])("%s", (file) => {
  const fuzz = (...args: string[]) =>
    run([process.execPath, join(import.meta.dirname, file), ...args]);

  test("prints its usage", async () => {
    const { stdout, stderr, code } = await fuzz("--help");
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout).toStartWith(`usage: bun test/fuzz/${file} `);
  });

  test.each([
    ["an unknown option", "--sed", "Unknown option '--sed': --help lists the options\n"],
    [
      "an option without its value",
      "--seed",
      "Option '--seed <value>' argument missing: --help lists the options\n",
    ],
  ])("refuses %s in one line", async (_what, arg, message) => {
    expect(await fuzz(arg)).toEqual({ stdout: "", stderr: message, code: 1 });
  });
});
