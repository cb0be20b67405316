/** nbdkit_parse_size accepts the sizes that parameters of TypeScript modules accept. */
import { expect, test } from "bun:test";

import { compileModule, haveCompiler } from "#test/modules";
import { program, run } from "#test/server";

import { noSizes, sizes } from "../../src/lib/size-fixture.ts";

test.skipIf(!haveCompiler)(
  "nbdkit_parse_size returns the sizes that TypeScript parses (needs cc)",
  async () => {
    const filter = await compileModule("test/fixtures/parsing.c");
    const table = [...sizes, ...noSizes.map((text) => [text, -1n] as const)];
    const { code, stderr } = await run([
      ...program,
      ...["-v", `--filter=${filter}`, "null"],
      ...table.map(([text]) => `parse-size=${text}`),
      "--dump-plugin",
    ]);
    const read = [...stderr.matchAll(/ parse-size=(.*) -> (-?[0-9]+)$/gm)];
    expect(code).toBe(0);
    expect(read.map(([, text, size]) => `${text} ${size}`)).toEqual(
      table.map(([text, size]) => `${text} ${size}`),
    );
    const refused = [...stderr.matchAll(/error: .*could not parse size(?: string)?: (.*)/gm)];
    expect(refused).toHaveLength(noSizes.length);
    // These are nbdkit's messages.
    expect(stderr).toContain("could not parse size: unknown suffix: _0: ");
    expect(stderr).toContain("could not parse size string: k: ");
  },
);
