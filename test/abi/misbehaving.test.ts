/** Modules that exit, crash or close the server's descriptors: one line names the module and what it did. */
import { describe, expect, test } from "bun:test";

import { NbdClient } from "#test/client";
import { compileModule, haveCompiler } from "#test/modules";
import { program, run, serve } from "#test/server";

const SIGSEGV = 11;

const crashed = (op: string) => `crashed${op}: Segmentation fault`;

/** The misdeed, the message about it, and the status of the server. */
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

describe.skipIf(!haveCompiler)("a misbehaving module (needs cc)", () => {
  const module = () => compileModule("test/fixtures/misbehaving.c");

  test.each(ends)("with in=pread does=%s is named: %s", async (does, words, status) => {
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

  test.each(loads)("with does=%s in a constructor is named: %s", async (does, words, status) => {
    const path = await module();
    const command = [...program, "-U", "-", path, "--run", "true"];
    const { code, stderr } = await run(command, { env: { MISBEHAVING: does } });
    expect({ code, stderr }).toEqual({ code: status, stderr: `nbdkit: ${path} ${words}\n` });
  });

  test.each(["closes", "closefrom", "close_range", "dup2"])(
    "with does=%s cannot close the server's descriptors, and is named",
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
    "with in=%s does=closes does not keep the server from ending after --run",
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

  test("gets nbdkit's message for a NULL path", async () => {
    const path = await module();
    const errorOf = async (does: string) => {
      const args = ["-U", "-", path, "in=config_complete", `does=${does}`, "--run", "true"];
      return (await run([...program, ...args])).stderr;
    };
    expect(await errorOf("null-path")).toBe(
      "nbdkit: error: cannot convert null or empty path to an absolute path\n",
    );
    expect(await errorOf("null-realpath")).toBe(
      "nbdkit: error: cannot resolve a null or empty path\n",
    );
  });
});
