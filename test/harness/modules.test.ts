/** The compiler harness itself. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { basename } from "node:path";

import { compileModule, haveCompiler } from "#test/modules";

describe.skipIf(!haveCompiler)("compileModule (needs cc)", () => {
  test("returns the same file for the same request, and another one for other defines", async () => {
    const [one, same, other] = await Promise.all([
      compileModule("examples/xor/xor.c"),
      compileModule("examples/xor/xor.c"),
      compileModule("examples/xor/xor.c", { defines: { UNUSED: 1 }, name: "other" }),
    ]);
    expect(same).toBe(one);
    expect([basename(one), basename(other)]).toEqual(["xor.so", "other.so"]);
    expect([existsSync(one), existsSync(other)]).toEqual([true, true]);
  });

  test("rejects with the compiler's message", async () => {
    const refused = compileModule("examples/xor/xor.c", { defines: { PIECE: "nonsense(" } });
    await expect(refused).rejects.toThrow("xor.c");
  });
});
