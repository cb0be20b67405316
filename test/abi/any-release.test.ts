/** Compiled filters of every layout are recognised, and loaded by what they say or the user says. */
import { describe, expect, test } from "bun:test";

import { type ReleaseId, releaseIds } from "#abi/recognise/releases";
import { NbdClient } from "#test/client";
import { compileModule, type CompileOptions, haveCompiler } from "#test/modules";
import { nativeLayer } from "#test/native";
import { program, run, serve } from "#test/server";

import { releaseMacro } from "../../codegen/names.ts";

const stripped = ["-s"];
const compiled = (
  id: ReleaseId,
  defines: CompileOptions["defines"] = {},
  flags: readonly string[] = [],
) =>
  compileModule("test/fixtures/any-release.c", {
    defines: { NBDKIT_FILTER_RELEASE: releaseMacro(id), ...defines },
    flags,
  });

async function recognised(path: string, ...args: string[]) {
  const { code, stdout } = await run([...program, "--inspect", "--json", ...args, path]);
  const { layout, reason } = JSON.parse(stdout) as Record<string, string | undefined>;
  return { code, layout, reason };
}

describe.skipIf(!haveCompiler)("filters of every layout (needs cc)", () => {
  test.each(releaseIds)("%s", async (id) => {
    const path = await compiled(id);
    expect(await recognised(path)).toEqual({ code: 0, layout: id, reason: undefined });
    expect(nativeLayer("filter", path)).toMatchObject({ kind: "filter", name: "any" });
  });

  test.each([
    ["1.4", "1.8.4"],
    ["1.10", "1.10.4"],
  ] as const)("%s without symbols is recognised by nbdkit's version", async (id, version) => {
    const path = await compiled(id, { VERSION: `"${version}"` }, stripped);
    expect(await recognised(path)).toEqual({ code: 0, layout: id, reason: undefined });
  });

  test("without symbols and version it cannot be told", async () => {
    const path = await compiled("1.10", {}, stripped);
    const { code, reason } = await recognised(path);
    expect({ code, reason }).toEqual({
      code: 1,
      reason: expect.stringContaining("the file does not show which nbdkit"),
    });
    expect(() => nativeLayer("filter", path)).toThrow("say --filter-release=FILTER=RELEASE");
    expect(nativeLayer("filter", path, { release: "1.10" }).name).toBe("any");
    expect(await recognised(path, `--filter-release=${path}=1.11.2`)).toMatchObject({ code: 0 });
    expect(await recognised(path, `--filter-generation=${path}=C`)).toMatchObject({ code: 0 });
  });

  describe("of a release that is not known", () => {
    const unknown = { NBDKIT_FILTER_VERSION: '"1.50.3"' };

    test("whose struct reads as the newest one runs, with one line of warning", async () => {
      const path = await compiled("1.44", unknown);
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
      const path = await compiled("1.44", unknown);
      const { code, stdout } = await run([...program, "--inspect", "--json", path]);
      const found: unknown = JSON.parse(stdout);
      expect({ code, found }).toMatchObject({
        code: 0,
        found: {
          layout: "1.44",
          version: "1.50.3",
          warning: expect.stringMatching(/^this filter is for nbdkit 1\.50\.3, and 1\.48\.1 is/),
        },
      });
    });

    test("runs without a warning where the user says the release", async () => {
      const path = await compiled("1.44", unknown);
      expect(nativeLayer("filter", path, { release: "1.44" }).version).toBe("1.50.3");
    });

    test.each([
      ["1", /the struct is another one \(\.pread is 0x1234, which is no function\)/],
      ["2", /the struct is another one \(\.pread is 0x[0-9a-f]+, which is no function\)/],
      ["3", /the struct is another one \(\.description is 0x1234, which is no string\)/],
      ["4", /filter\.name \('with_line'\) field must contain only/],
    ])("is refused where the struct does not read so: %s", async (wrong, words) => {
      const path = await compiled("1.44", { ...unknown, WRONG: wrong }, stripped);
      expect(() => nativeLayer("filter", path)).toThrow(words);
    });

    test("is refused where the file says that the struct has another size", async () => {
      const path = await compiled("1.44", { ...unknown, LONGER: true });
      expect(() => nativeLayer("filter", path)).toThrow(
        "the struct is another one (it has 344 bytes, not 336)",
      );
    });

    test("is refused with an API number that is not known", async () => {
      const path = await compiled("1.44", { ...unknown, API: 7 });
      expect(() => nativeLayer("filter", path)).toThrow("(_api_version = 7, need at most 6)");
    });
  });

  test("the user's word does not change what the file says", async () => {
    const path = await compiled("1.30");
    expect(() => nativeLayer("filter", path, { release: "1.36" })).toThrow(
      "so it has the layout of nbdkit 1.30, but --filter-release chooses that of nbdkit 1.36: leave",
    );
  });

  test.each([
    ["1.21.22", false],
    ["1.22", true],
  ] as const)("names of %s may have dashes: %p", async (id, allowed) => {
    const path = await compiled(id, { NAME: '"with-dash"' });
    const load = () => nativeLayer("filter", path).name;
    if (allowed) expect(load()).toBe("with-dash");
    else expect(load).toThrow("filter.name ('with-dash') field must contain only ASCII alphanum");
  });

  describe("of which not all can be read", () => {
    test.each([
      ["original", 200],
      ["1.2", 200],
      ["1.4", 208],
      ["1.14", 256],
      ["1.15.1", 264],
      ["1.25.4", 312],
      ["1.44", 336],
    ] as const)(
      "%s",
      async (id, size) => {
        // What is no variable has no symbol that tells its size.
        const options = id === "1.4" ? { release: id } : {};
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
    ["7", "1.44"],
    ["100", "1.44"],
    ["0", "1.44"],
    ["-1", "1.44"],
    ["3", "1.2"],
  ] as const)("of API %s, which there is not, in a struct of %s", async (API, id) => {
    const path = await compiled(id, { API });
    expect(() => nativeLayer("filter", path)).toThrow(
      /incompatible with this version of nbdkit|has an unknown form|expected/,
    );
  });
});
