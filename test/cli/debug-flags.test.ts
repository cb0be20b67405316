/** -D sets variables of C modules before their load callback, and warns as nbdkit does. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";

import { moduleDirectories } from "#modules/directories";
import { compileModule, haveCompiler } from "#test/modules";
import { installed, program, run } from "#test/server";

const warn = (text: string) => `nbdkit: warning: ${text}\n`;
const contains = (flag: string, name: string, variable: string) =>
  warn(`-D ${flag}: ${name} does not contain a global variable called ${variable}`);
const flagged = (...flags: string[]) => flags.flatMap((flag) => ["-D", flag]);

describe.skipIf(!haveCompiler)("C modules (needs cc)", () => {
  const version = async (args: readonly string[]) => {
    const filter = await compileModule("test/fixtures/debug-flags.c", {
      defines: { FILTER: true },
    });
    const plugin = await compileModule("test/fixtures/debug-flags.c");
    return run([...program, ...args, `--filter=${filter}`, plugin, "--version"]);
  };

  test("see the values of -D in load", async () => {
    const { code, stderr } = await version(
      flagged("flagplugin.one=5", "flagfilter.two.words=-0x10", "flagplugin.one=6"),
    );
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: "flagplugin: one=6 two.words=7\nflagfilter: one=0 two.words=-16\n",
    });
  });

  test("cause a warning for each variable that they lack", async () => {
    const { code, stderr } = await version(
      flagged("flagplugin.none=1", "other.flag=1", "nbdkit.none.such=1", "nbdkit.tls.log=2"),
    );
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr:
        contains("flagplugin.none", "flagplugin", "flagplugin_debug_none") +
        "flagplugin: one=0 two.words=7\nflagfilter: one=0 two.words=7\n" +
        contains("nbdkit.none.such", "nbdkit", "nbdkit_debug_none_such") +
        warn("debug flag -D other.flag was not used"),
    });
  });
});

test.skipIf(!installed("nbdinfo"))(
  "-D nbdkit.backend.controlpath=0 and datapath=0 silence debug lines about layers (needs nbdinfo)",
  async () => {
    const printed = async (...flags: string[]): Promise<readonly boolean[]> => {
      const options = ["-v", "-U", "-", ...flagged(...flags), "--run", 'nbdinfo "$uri"'];
      const { code, stderr } = await run([...program, ...options, "memory", "1M"]);
      expect(code).toBe(0);
      return [/ memory: get_size/, / memory: (pread|extents) /, / memory: get_ready/].map((line) =>
        line.test(stderr),
      );
    };
    expect(await printed()).toEqual([true, true, true]);
    expect(await printed("nbdkit.backend.controlpath=0")).toEqual([false, true, true]);
    expect(await printed("nbdkit.backend.datapath=0")).toEqual([true, false, true]);
    expect(await printed("nbdkit.backend.datapath=0", "nbdkit.backend.controlpath=0")).toEqual([
      false,
      false,
      true,
    ]);
  },
);

test.each([
  [["-v", "-D", "nbdkit.environ=1"], ["nbdkit: debug: NBDKIT_TEST=a\\nb ü"]],
  [["-v", "-D", "nbdkit.environ=0"], []],
  [["-D", "nbdkit.environ=1"], []],
])("-D nbdkit.environ=1 with -v logs the environment: %j", async (args, lines) => {
  const env = { NBDKIT_TEST: "a\nb ü" };
  const { code, stderr } = await run([...program, ...args, "null", "--version"], { env });
  expect(code).toBe(0);
  expect(stderr.split("\n").filter((line) => line.includes("NBDKIT_TEST"))).toEqual(lines);
});

test("-D warns that a TypeScript module has no variables", async () => {
  const { code, stderr } = await run([...program, "-D", "null.x=1", "null", "--version"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: contains("null.x", "null", "null_debug_x") });
});

const dataPlugin = join(moduleDirectories().plugindir, "nbdkit-data-plugin.so");

test.skipIf(!installed("nbdkit") || !existsSync(dataPlugin))(
  "-D data.AST makes nbdkit's data plugin print the same as in nbdkit (needs nbdkit)",
  async () => {
    const shown = async (command: readonly string[], plugin: string, flag: string) => {
      const args = ["-U", "-", "-v", "-D", flag, plugin, "data=1 2 (3)*4", "--run", "true"];
      const { code, stderr } = await run([...command, ...args]);
      const lines = /^nbdkit: debug: allocator[^]*?final size.*$/m.exec(stderr)?.[0].split("\n");
      return { code, lines };
    };
    for (const flag of ["data.AST=1", "data.AST=0"]) {
      const theirs = await shown(["nbdkit"], "data", flag);
      // nbdkit 1.32 does not double backslashes in debug lines.
      const lines = theirs.lines?.map((line) => line.replaceAll("\\", "\\\\"));
      expect(await shown(program, "native:data", flag)).toEqual({ ...theirs, lines });
      expect(theirs.lines?.some((line) => line.includes("AST"))).toBe(flag.endsWith("1"));
    }
  },
);

describe.skipIf(!installed("nbdkit"))("-D warns as nbdkit does (needs nbdkit)", () => {
  test.each([
    { flags: ["example1.nosuch=1"] },
    { flags: ["example1.a.b=1", "foo.bar=2"] },
    { flags: ["nbdkit.nosuch=1"] },
    { flags: ["nbdkit.backend.controlpath=0", "nbdkit.backend.datapath=0"] },
    { flags: ["x.y=1", "nbdkit.a=1", "example1.z=1"] },
  ])("about $flags", async ({ flags }) => {
    const args = [...flagged(...flags), "example1", "--version"];
    const theirs = await run(["nbdkit", ...args]);
    const ours = await run([...program, ...args]);
    expect({ code: ours.code, stderr: ours.stderr }).toEqual({
      code: theirs.code,
      stderr: theirs.stderr,
    });
  });
});
