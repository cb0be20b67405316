/** Compiled filters of every generation are recognised, and loaded by what they say or the user says. */
import { describe, expect, test } from "bun:test";

import { type GenerationId, generationIds } from "#abi/recognise/generation-ids";
import { NbdClient } from "#test/client";
import { compileModule, type CompileOptions, haveCompiler } from "#test/modules";
import { nativeLayer } from "#test/native";
import { program, run, serve } from "#test/server";

const stripped = ["-s"];
const compiled = (
  id: GenerationId,
  defines: CompileOptions["defines"] = {},
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

  describe("of a release that is not known", () => {
    const unknown = { NBDKIT_FILTER_VERSION: '"1.50.3"' };

    test("whose struct reads as the newest one runs, with one line of warning", async () => {
      const path = await compiled("M", unknown);
      await using server = await serve([`--filter=${path}`, "memory", "1M"]);
      const { client } = await NbdClient.ready({ unix: server.socket });
      expect((await client.ask({ type: 0, offset: 0n, count: 512 })).error).toBe(0);
      client.terminate();
      const { stderr } = await server.stop();
      expect(stderr).toBe(
        `nbdkit: warning: ${path}: this filter is for nbdkit 1.50.3, and 1.48.1 is the newest release that is known here: ` +
          "it runs as a filter of 1.48.1, since its struct reads like one\n",
      );
    });

    test("is inspected with the same words", async () => {
      const path = await compiled("M", unknown);
      const { code, stdout } = await run([...program, "--inspect", "--json", path]);
      const found: unknown = JSON.parse(stdout);
      expect({ code, found }).toMatchObject({
        code: 0,
        found: {
          generation: "M",
          version: "1.50.3",
          warning: expect.stringMatching(/^this filter is for nbdkit 1\.50\.3, and 1\.48\.1 is/),
        },
      });
    });

    test("runs without a warning where the user says the generation", async () => {
      const path = await compiled("M", unknown);
      expect(nativeLayer("filter", path, { generation: "M" }).version).toBe("1.50.3");
    });

    test.each([
      ["1", /the struct is another one \(\.pread is 0x1234, which is no function\)/],
      ["2", /the struct is another one \(\.pread is 0x[0-9a-f]+, which is no function\)/],
      ["3", /the struct is another one \(\.description is 0x1234, which is no string\)/],
      ["4", /filter\.name \('with_line'\) field must contain only/],
    ])("is refused where the struct does not read so: %s", async (wrong, words) => {
      const path = await compiled("M", { ...unknown, WRONG: wrong }, stripped);
      expect(() => nativeLayer("filter", path)).toThrow(words);
    });

    test("is refused where the file says that the struct has another size", async () => {
      const path = await compiled("M", { ...unknown, LONGER: true });
      expect(() => nativeLayer("filter", path)).toThrow(
        "the struct is another one (it has 344 bytes, not 336)",
      );
    });

    test("is refused with an API number that is not known", async () => {
      const path = await compiled("M", { ...unknown, API: 7 });
      expect(() => nativeLayer("filter", path)).toThrow("(_api_version = 7, need at most 6)");
    });
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
