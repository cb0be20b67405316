/** The generated C: it compiles without a warning, and what goes into an adapter comes out below, value for value. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";

import {
  cases,
  cc,
  expectGolden,
  hasCompiler,
  needsCompiler,
  output,
  strict,
} from "./compiler-fixture.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

const generations = ["s", "a"];

describe.skipIf(!hasCompiler)(`generated C${needsCompiler}`, () => {
  test.each(["filter-s", "filter-a", "plugin"])(
    "%s.gen.c compiles without a warning",
    async (name) => {
      const source = `#include "../abi/generated/${name}.gen.c"\n`;
      const args = ["-std=c11", "-O2", "-Iinclude", ...strict, "-c", "-o", "/dev/null"];
      expect(await cc(args, source)).toEqual({ code: 0, stdout: "", stderr: "" });
    },
  );

  test.each(generations)("the adapter of generation %s passes every value on", async (id) => {
    const source = await Bun.file(join(cases, "c/adapter.c")).text();
    // The program needs one generation only; the table of adapters wants them all.
    const others = ["filter_s", "filter_a", "plugin"].filter((name) => name !== `filter_${id}`);
    const stubs = others.map(
      (name) =>
        `void rt_${name}_call (const void *f, struct rt_message *m) { (void) f; (void) m; }\n`,
    );
    const text = await output(
      [
        "-std=gnu11",
        "-Wall",
        "-Werror",
        `-DADAPTER=rt_filter_${id}_call`,
        `-DNBDKIT_FILTER_GENERATION=NBDKIT_GENERATION_${id.toUpperCase()}`,
        `-Wno-builtin-macro-redefined`,
      ],
      `${source}\n${stubs.join("")}#undef NBDKIT_FILTER_GENERATION\n#undef NBDKIT_API_VERSION\n` +
        `#include "filter-${id}.gen.c"\n`,
    );
    expectGolden(`c/adapter-${id}.txt`, text);
  });
});
