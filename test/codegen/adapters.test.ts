/** The generated C: it compiles without a warning, and the adapters pass on every value of a call. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import { releaseIds, releases } from "#abi/generated/releases.gen";

import { adapterName, releaseMacro } from "../../codegen/names.ts";
import {
  cases,
  cc,
  compiler,
  expectGolden,
  hasCompiler,
  includes,
  needsCompiler,
  root,
  run,
  strict,
  temporary,
} from "./compiler-fixture.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

const sources = readdirSync(join(root, "abi/generated")).filter((name) => name.endsWith(".c"));

/** All generated C in one archive. */
let folder: Awaited<ReturnType<typeof temporary>>;
let archive: string;

async function build(): Promise<void> {
  folder = await temporary();
  archive = join(folder.path, "generated.a");
  const objects = await Promise.all(
    sources.map(async (name) => {
      const object = join(folder.path, `${name}.o`);
      const args = ["-std=c11", "-O1", ...strict, "-c", "-o", object];
      expect(await cc(args, `#include "../abi/generated/${name}"\n`)).toEqual(ok);
      return object;
    }),
  );
  expect(await run(["ar", "rc", archive, ...objects])).toEqual(ok);
}

const ok = { code: 0, stdout: "", stderr: "" };

describe.skipIf(!hasCompiler)(`generated C${needsCompiler}`, () => {
  beforeAll(async () => {
    if (hasCompiler) await build();
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  test.each(sources)("%s compiles without a warning", async (name) => {
    const source = `#include "../abi/generated/${name}"\n`;
    const args = ["-std=c11", "-O2", ...strict, "-c", "-o", "/dev/null"];
    expect(await cc(args, source)).toEqual(ok);
  });

  test.each(releaseIds)("the adapter of layout %s passes every value on", async (id) => {
    await using built = await temporary();
    const program = join(built.path, "program");
    const args = [
      "-std=gnu11",
      ...strict,
      `-DNBDKIT_FILTER_RELEASE=${releaseMacro(id)}`,
      `-DADAPTER=rt_${adapterName(id)}_call`,
      `-DNUMBER=${releases[id].adapter}`,
      ...includes,
      join(cases, "c/adapter.c"),
      archive,
    ];
    expect(await run([compiler, "-o", program, ...args])).toEqual(ok);
    const { code, stdout, stderr } = await run([program]);
    expect([code, stderr]).toEqual([0, ""]);
    expectGolden(`c/adapter-${id.replaceAll(".", "-")}.txt`, stdout);
  });
});
