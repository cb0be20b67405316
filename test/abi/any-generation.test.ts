/** Compiled filters of every generation are recognised, and loaded by what they say or the user says. */
import { describe, expect, test } from "bun:test";

import { type GenerationId, generationIds } from "#abi/generation-ids";
import { compileModule, haveCompiler } from "#test/modules";
import { nativeLayer } from "#test/native";
import { program, run } from "#test/server";

const stripped = ["-s"];
const compiled = (
  id: GenerationId,
  defines: Readonly<Record<string, string>> = {},
  flags: readonly string[] = [],
) =>
  compileModule("test/fixtures/any-generation.c", {
    defines: { NBDKIT_FILTER_GENERATION: `NBDKIT_GENERATION_${id}`, ...defines },
    flags,
  });

async function recognised(path: string, ...args: string[]) {
  const { code, stdout } = await run([...program, "--inspect", "--json", ...args, path]);
  const { generation, reason } = JSON.parse(stdout) as Record<string, string | undefined>;
  return { code, generation, reason };
}

describe.skipIf(!haveCompiler)("filters of every generation (needs cc)", () => {
  test.each(generationIds)("%s", async (id) => {
    const path = await compiled(id);
    expect(await recognised(path)).toEqual({ code: 0, generation: id, reason: undefined });
    expect(nativeLayer("filter", path)).toMatchObject({ kind: "filter", name: "any" });
  });

  test.each([
    ["B", "1.8.4"],
    ["C", "1.10.4"],
  ] as const)("%s without symbols is told by nbdkit's version", async (id, version) => {
    const path = await compiled(id, { VERSION: `"${version}"` }, stripped);
    expect(await recognised(path)).toEqual({ code: 0, generation: id, reason: undefined });
  });

  test("without symbols and version it cannot be told", async () => {
    const path = await compiled("C", {}, stripped);
    const { code, reason } = await recognised(path);
    expect({ code, reason }).toEqual({
      code: 1,
      reason: expect.stringContaining("it cannot be told of which nbdkit"),
    });
    expect(() => nativeLayer("filter", path)).toThrow("say --filter-generation=FILTER=ID");
    expect(nativeLayer("filter", path, { generation: "C" }).name).toBe("any");
    expect(await recognised(path, `--filter-generation=${path}=C`)).toMatchObject({ code: 0 });
  });

  test("what is newer than all that is known needs the user's word", async () => {
    const path = await compiled("M", { NBDKIT_FILTER_VERSION: '"1.46.0"' });
    expect(() => nativeLayer("filter", path)).toThrow("1.45.2 is the newest that is known here");
    expect(nativeLayer("filter", path, { generation: "M" }).version).toBe("1.46.0");
  });

  test("the user's word does not change what the file says", async () => {
    const path = await compiled("K");
    expect(() => nativeLayer("filter", path, { generation: "L" })).toThrow(
      "so of generation K, but --filter-generation says L: leave the option out",
    );
  });

  test.each([
    ["g3", false],
    ["H", true],
  ] as const)("names of %s may have dashes: %p", async (id, allowed) => {
    const path = await compiled(id, { NAME: '"with-dash"' });
    const load = () => nativeLayer("filter", path).name;
    if (allowed) expect(load()).toBe("with-dash");
    else expect(load).toThrow("filter.name ('with-dash') field must contain only ASCII alphanum");
  });

  describe("of which not all can be read", () => {
    test.each([
      ["S", 200],
      ["A", 200],
      ["B", 208],
      ["E", 256],
      ["F0", 264],
      ["i1", 312],
      ["M", 336],
    ] as const)(
      "%s",
      async (id, size) => {
        // What is no variable has no symbol that tells its size.
        const options = id === "B" ? { generation: id } : {};
        for (const CUT of ["24", "40", String(size - 8)]) {
          const path = await compiled(id, { CUT });
          const needed = CUT === "24" ? 32 : size;
          const words = `where there are no ${needed} bytes that can be read`;
          expect(() => nativeLayer("filter", path, options)).toThrow(words);
        }
        const whole = await compiled(id, { CUT: String(size) });
        expect(nativeLayer("filter", whole, options)).toMatchObject({ name: "any" });
      },
      30_000,
    );
  });

  test.each([
    ["7", "M"],
    ["100", "M"],
    ["0", "M"],
    ["-1", "M"],
    ["3", "A"],
  ] as const)("of API %s, which there is not, in a struct of %s", async (API, id) => {
    const path = await compiled(id, { API });
    expect(() => nativeLayer("filter", path)).toThrow(
      /incompatible with this version of nbdkit|has an unknown form|expected/,
    );
  });
});
