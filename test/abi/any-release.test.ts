/** Compiled filters of every layout are recognised and loaded, by what the file shows or by --filter-release. */
import { describe, expect, test } from "bun:test";

import { newestKnown, type ReleaseId, releaseIds } from "#abi/recognise/releases";
import { NbdClient } from "#test/client";
import { compileModule, type CompileOptions, haveCompiler } from "#test/modules";
import { nativeLayer } from "#test/native";
import { program, run, serve } from "#test/server";

import { releaseMacro } from "../../codegen/names.ts";
import { recorded } from "./layouts-recorded.ts";

/** The newest layout, and its size in bytes. */
const newest = releaseIds.at(-1) ?? "original";
const newestSize = recorded[newest]?.size ?? 0;
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

describe.skipIf(!haveCompiler)("filters (needs cc)", () => {
  test.each(releaseIds)("of layout %s are recognised and loaded", async (id) => {
    const path = await compiled(id);
    expect(await recognised(path)).toEqual({ code: 0, layout: id, reason: undefined });
    expect(nativeLayer("filter", path)).toMatchObject({ kind: "filter", name: "any" });
  });

  test.each([
    ["1.4", "1.8.4"],
    ["1.10", "1.10.4"],
  ] as const)(
    "of layout %s without symbols are recognised by their version",
    async (id, version) => {
      const path = await compiled(id, { VERSION: `"${version}"` }, stripped);
      expect(await recognised(path)).toEqual({ code: 0, layout: id, reason: undefined });
    },
  );

  test("need --filter-release without symbols and version", async () => {
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

  describe("of an unknown release", () => {
    const unknown = { NBDKIT_FILTER_VERSION: '"1.98.3"' };

    test("run, with one warning, if the struct reads like the newest one", async () => {
      const path = await compiled(newest, unknown);
      await using server = await serve([`--filter=${path}`, "memory", "1M"]);
      const { client } = await NbdClient.ready({ unix: server.socket });
      expect((await client.ask({ type: 0, offset: 0n, count: 512 })).error).toBe(0);
      client.terminate();
      const { stderr } = await server.stop();
      expect(stderr).toBe(
        `nbdkit: warning: ${path}: this filter is for nbdkit 1.98.3, and ${newestKnown} is the newest release that is known here: ` +
          `it runs as a filter of ${newestKnown}, since its struct reads like one\n`,
      );
    });

    test("are inspected with the same warning", async () => {
      const path = await compiled(newest, unknown);
      const { code, stdout } = await run([...program, "--inspect", "--json", path]);
      const found: unknown = JSON.parse(stdout);
      expect({ code, found }).toMatchObject({
        code: 0,
        found: {
          layout: newest,
          version: "1.98.3",
          warning: expect.stringContaining(
            `this filter is for nbdkit 1.98.3, and ${newestKnown} is`,
          ),
        },
      });
    });

    test("run without a warning if the user names the layout", async () => {
      const path = await compiled(newest, unknown);
      expect(nativeLayer("filter", path, { release: newest }).version).toBe("1.98.3");
    });

    test.each([
      ["1", /the struct is another one \(\.pread is 0x1234, which is no function\)/],
      ["2", /the struct is another one \(\.pread is 0x[0-9a-f]+, which is no function\)/],
      ["3", /the struct is another one \(\.description is 0x1234, which is no string\)/],
      ["4", /filter\.name \('with_line'\) field must contain only/],
    ])("are refused if a field does not read like the newest one's: %s", async (wrong, words) => {
      const path = await compiled(newest, { ...unknown, WRONG: wrong }, stripped);
      expect(() => nativeLayer("filter", path)).toThrow(words);
    });

    test("are refused if the symbol table has another size for the struct", async () => {
      const path = await compiled(newest, { ...unknown, LONGER: true });
      expect(() => nativeLayer("filter", path)).toThrow(
        `the struct is another one (it has ${newestSize + 8} bytes, not ${newestSize})`,
      );
    });
  });

  test("are refused if --filter-release contradicts the release that the file names", async () => {
    const path = await compiled("1.30");
    expect(() => nativeLayer("filter", path, { release: "1.36" })).toThrow(
      "so it has the layout of nbdkit 1.30, but --filter-release chooses that of nbdkit 1.36: leave",
    );
  });

  test.each([
    ["1.21.22", false],
    ["1.22", true],
  ] as const)("of layout %s may have dashes in their name: %p", async (id, allowed) => {
    const path = await compiled(id, { NAME: '"with-dash"' });
    const load = () => nativeLayer("filter", path).name;
    if (allowed) expect(load()).toBe("with-dash");
    else expect(load).toThrow("filter.name ('with-dash') field must contain only ASCII alphanum");
  });

  describe("with unreadable memory in their struct", () => {
    test.each(["original", "1.2", "1.4", "1.14", "1.15.1", "1.25.4", newest] as const)(
      "are refused with layout %s",
      async (id) => {
        const size = recorded[id]?.size ?? 0;
        // The copy that is cut has no symbol with its size.
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
    ["7", newest],
    ["100", newest],
    ["0", newest],
    ["-1", newest],
    ["3", "1.2"],
  ] as const)("are refused with the unknown API number %s in layout %s", async (API, id) => {
    const path = await compiled(id, { API });
    expect(() => nativeLayer("filter", path)).toThrow(
      /incompatible with this version of nbdkit|has an unknown form|expected/,
    );
  });
});
