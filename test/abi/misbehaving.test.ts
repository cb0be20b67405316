/** Modules that do to the process what they may not: a line names them, before anything of Bun's. */
import { describe, expect, test } from "bun:test";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { program, run, serve } from "#test/server";

const SIGSEGV = 11;

const crashed = (op: string) => `crashed${op}: Segmentation fault`;

/** What is done, what is said of it, and the status. */
const ends = [
  ["exit", "called exit in pread: the server ends with status 5", 5],
  ["_exit", "called _exit in pread: the server ends with status 5", 5],
  ["unmaps", crashed(" in pread"), 128 + SIGSEGV],
  ["null-size", crashed(" in pread"), 128 + SIGSEGV],
  ["null-password", crashed(" in pread"), 128 + SIGSEGV],
  ["null-extent", crashed(" in pread"), 128 + SIGSEGV],
  ["null-thread", crashed(""), 128 + SIGSEGV],
] as const;

const loads = [
  ["exit", "called exit while it was loaded: the server ends with status 5", 5],
  ["_exit", "called _exit while it was loaded: the server ends with status 5", 5],
  ["unmaps", crashed(" while it was loaded"), 128 + SIGSEGV],
  ["null-size", crashed(" while it was loaded"), 128 + SIGSEGV],
  ["null-thread", crashed(" while it was loaded"), 128 + SIGSEGV],
] as const;

describe.skipIf(!haveCompiler)("a module that (needs cc)", () => {
  const module = () => compileModule("test/fixtures/misbehaving.c");

  test.each(ends)("%s is named: it %s", async (does, words, status) => {
    const path = await module();
    await using server = await serve([path, "in=pread", `does=${does}`]);
    await using client = (await NbdClient.ready({ unix: server.socket })).client;
    client.request({ type: 0, offset: 0n, count: 512 });
    await client.closed;
    const { code, stderr } = await server.stop();
    expect({ code, stderr }).toEqual({
      code: status,
      stderr: `nbdkit: the plugin misbehaving (${path}) ${words}\n`,
    });
  });

  test.each(loads)("%s in a constructor is named: it %s", async (does, words, status) => {
    const path = await module();
    const command = [...program, "-U", "-", path, "--run", "true"];
    const { code, stderr } = await run(command, { env: { MISBEHAVING: does } });
    expect({ code, stderr }).toEqual({ code: status, stderr: `nbdkit: ${path} ${words}\n` });
  });

  test.each(["closes", "closefrom", "close_range", "dup2"])(
    "%s the server's descriptors is named, and the server goes on",
    async (does) => {
      const path = await module();
      for (const callback of ["config_complete", "after_fork", "open", "pread"]) {
        await using server = await serve([path, `in=${callback}`, `does=${does}`]);
        for (let i = 0; i < 2; i++) {
          await using client = (await NbdClient.ready({ unix: server.socket })).client;
          expect((await client.ask({ type: 0, offset: 0n, count: 512 })).error).toBe(0);
        }
        const { code, stderr } = await server.stop();
        expect({ code, stderr: stderr.replace(/descriptor \d+/, "descriptor N") }).toEqual({
          code: 0,
          stderr:
            `nbdkit: the plugin misbehaving (${path}) tried to close descriptor N ` +
            `in ${callback}: it is the server's and stays open\n`,
        });
      }
    },
  );

  test.each(["config_complete", "after_fork"])(
    "closes the server's descriptors in %s does not keep the command of --run from ending it",
    async (callback) => {
      const path = await module();
      const args = ["-U", "-", path, `in=${callback}`, "does=closes", "--run", "echo ran; exit 7"];
      const { code, stdout, stderr } = await run([...program, ...args]);
      expect({ code, stdout, lines: stderr.split("\n").length }).toEqual({
        code: 7,
        stdout: "ran\n",
        lines: 2,
      });
    },
  );

  test("passes no path gets nbdkit's words", async () => {
    const path = await module();
    const said = async (does: string) => {
      const args = ["-U", "-", path, "in=config_complete", `does=${does}`, "--run", "true"];
      return (await run([...program, ...args])).stderr;
    };
    expect(await said("null-path")).toBe(
      "nbdkit: error: cannot convert null or empty path to an absolute path\n",
    );
    expect(await said("null-realpath")).toBe(
      "nbdkit: error: cannot resolve a null or empty path\n",
    );
  });
});
