/** A module that crashes: the server names it and is killed by the signal. */
import { describe, expect, test } from "bun:test";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { program, run, serve } from "#test/server";

const SIGILL = 4;
const SIGABRT = 6;
const SIGBUS = 7;
const SIGFPE = 8;
const SIGSEGV = 11;

const cases = [
  ["segv", SIGSEGV, " crashed in pread: Segmentation fault"],
  ["depth", SIGSEGV, " crashed in pread: Segmentation fault"],
  ["bus", SIGBUS, " crashed in pread: Bus error"],
  ["abort", SIGABRT, " crashed in pread: Aborted"],
  ["fpe", SIGFPE, " crashed in pread: Floating point exception"],
  ["ill", SIGILL, " crashed in pread: Illegal instruction"],
  ["thread", SIGSEGV, " crashed: Segmentation fault"],
] as const;

describe.skipIf(!haveCompiler || process.arch !== "x64")("a crash (needs cc, x86-64)", () => {
  const module = () => compileModule("test/fixtures/crashing.c");

  test.each(cases)(
    "by %s kills the server with signal %i and names the module",
    async (by, signal, words) => {
      const path = await module();
      await using server = await serve([path, `by=${by}`]);
      await using client = (await NbdClient.ready({ unix: server.socket })).client;
      client.request({ type: 0, offset: 0n, count: 512 });
      await client.closed;
      const { code, stderr } = await server.stop();
      expect({ code, stderr }).toEqual({
        code: 128 + signal,
        stderr: `nbdkit: the plugin crashing (${path})${words}\n`,
      });
    },
  );

  test("before the first client names the callback", async () => {
    const path = await module();
    const { code, stderr } = await run([
      ...program,
      "-U",
      "-",
      "--run",
      "true",
      path,
      "by=early-segv",
    ]);
    expect({ code, stderr }).toEqual({
      code: 128 + SIGSEGV,
      stderr: `nbdkit: the plugin crashing (${path}) crashed in config_complete: Segmentation fault\n`,
    });
  });

  test("outside of modules names none", async () => {
    await using server = await serve([await module()]);
    await using client = (await NbdClient.ready({ unix: server.socket })).client;
    server.process.kill("SIGSEGV");
    await client.closed;
    const { code, stderr } = await server.stop();
    expect(code).not.toBe(0);
    expect(stderr).not.toContain("the plugin");
  });
});
