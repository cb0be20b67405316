/** The generated C: it compiles without a warning, and what goes into an adapter comes out below, value for value. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";

import {
  cases,
  cc,
  expectGolden,
  hasCompiler,
  needsCompiler,
  output,
  root,
  strict,
} from "./compiler-fixture.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

const generations = ["s", "a"];
const sources = readdirSync(join(root, "abi/generated")).filter((name) => name.endsWith(".c"));

describe.skipIf(!hasCompiler)(`generated C${needsCompiler}`, () => {
  test.each(sources)("%s compiles without a warning", async (name) => {
    const source = `#include "../abi/generated/${name}"\n`;
    const args = ["-std=c11", "-O2", "-Iinclude", ...strict, "-c", "-o", "/dev/null"];
    expect(await cc(args, source)).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  test.each(generations)("the adapter of generation %s passes every value on", async (id) => {
    const source = await Bun.file(join(cases, "c/adapter.c")).text();
    const text = await output(
      [
        "-std=gnu11",
        "-Wall",
        "-Werror",
        ...sources.map((name) => join("abi/generated", name)),
        "-xc",
        `-DADAPTER=rt_filter_${id}_call`,
        "-include",
        `stdint.h`,
      ],
      `#define NBDKIT_FILTER_GENERATION NBDKIT_GENERATION_${id.toUpperCase()}\n${source}`,
    );
    expectGolden(`c/adapter-${id}.txt`, text);
  });
});
