/** `bun run codegen` and `--check` as commands: what they print, write and return. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";

import {
  hasCompiler,
  headerPaths,
  needsCompiler,
  type Ran,
  root,
  run,
  temporary,
} from "./compiler-fixture.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(240_000);

const codegen = (...args: readonly string[]): Promise<Ran> =>
  run([process.execPath, "codegen/main.ts", ...args]);

/** The headers and their generated files in a folder of their own. */
async function copyOfTheProject() {
  const copy = await temporary();
  const generated = ["abi/generated", "src/api/generated", "src/sys/generated"];
  for (const path of [...headerPaths, ...generated]) {
    await cp(join(root, path), join(copy.path, path), { recursive: true });
  }
  return copy;
}

describe.skipIf(!hasCompiler)(`codegen${needsCompiler}`, () => {
  test("finds the committed files up to date", async () => {
    expect(await codegen("--check")).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test.each(["env cc", "  "])(
    "takes CC=%j for a command with arguments, or for none",
    async (CC) => {
      const checked = await run([
        "env",
        `CC=${CC}`,
        process.execPath,
        "codegen/main.ts",
        "--check",
      ]);
      expect(checked).toEqual({ code: 0, stdout: "", stderr: "" });
    },
  );

  test("--check lists stale, missing and left-over files and writes nothing; a run without it repairs them", async () => {
    await using copy = await copyOfTheProject();
    const at = (name: string) => join(copy.path, "abi/generated", name);
    await Bun.write(at("ops.gen.h"), "// edited by hand\n");
    await rm(at("layouts.gen.ts"));
    await Bun.write(at("old.gen.ts"), "");
    await Bun.write(at("README.md"), "not generated, so it stays");
    const names = ["layouts.gen.ts", "old.gen.ts", "ops.gen.h"];

    expect(await codegen("--check", "--root", copy.path)).toEqual({
      code: 1,
      stdout: names
        .map((name) => `abi/generated/${name} is out of date: run \`bun run codegen\`\n`)
        .join(""),
      stderr: "",
    });
    expect(await Bun.file(at("ops.gen.h")).text()).toBe("// edited by hand\n");
    expect(await Bun.file(at("layouts.gen.ts")).exists()).toBe(false);

    expect(await codegen("--root", copy.path)).toEqual({
      code: 0,
      stdout: names.map((name) => `updated abi/generated/${name}\n`).join(""),
      stderr: "",
    });
    expect(await Bun.file(at("old.gen.ts")).exists()).toBe(false);
    expect(await Bun.file(at("README.md")).exists()).toBe(true);
    expect(await codegen("--check", "--root", copy.path)).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
  });

  test("prints a refused declaration with its place, and writes nothing", async () => {
    await using copy = await copyOfTheProject();
    const header = join(copy.path, "include/nbdkit-plugin.h");
    const text = await Bun.file(header).text();
    await Bun.write(header, `#include <stdint.h>\nenum thing { x };\n${text}`);
    expect(await codegen("--root", copy.path)).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "codegen: include/nbdkit-plugin.h:2:1: unknown declaration (enum_specifier)\n" +
        "enum thing { x };\n" +
        "^\n" +
        "expected a struct, a union, a typedef of a function or an opaque type, or a function; " +
        "change the header, or teach codegen/parse/declarations.ts\n",
    });
  });
});
