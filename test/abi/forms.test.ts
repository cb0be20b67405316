/** Filters and plugins whose structs are smaller or larger than ours, or lack the marker of the original layout. */
import { describe, expect, test } from "bun:test";

import { errnoOf } from "#test/chain";
import { compileModule, haveCompiler } from "#test/modules";
import { nativeLayer, nativeStack } from "#test/native";
import { installed, run, serve } from "#test/server";

describe.skipIf(!haveCompiler)("structs of other sizes (needs cc)", () => {
  const sized = (kind: "filter" | "plugin", SIZED: number) =>
    compileModule(`test/fixtures/sized-${kind}.c`, { defines: { SIZED } });

  test.each([
    { SIZED: 1, what: "ends after config_help", adds: 0 },
    { SIZED: 2, what: "ends after pread", adds: 1 },
    { SIZED: 3, what: "has unknown fields at its end", adds: 1 },
  ])("a filter works if its struct $what", async ({ SIZED, adds }) => {
    await using stack = await nativeStack([nativeLayer("filter", await sized("filter", SIZED))], {
      sized: "yes",
    });
    const { top } = await stack.connect();
    const buf = new Uint8Array(512);
    await top.pread(buf, 0n, 0);
    expect(buf).toEqual(stack.disk.slice(0, 512).map((byte) => byte + adds));
    await top.pwrite(buf, 0n, 0);
    expect(stack.disk.slice(0, 512)).toEqual(buf);
    expect(await top.getSize()).toBe(65536n);
  });

  test.each([
    { SIZED: 1, what: "is nbdkit 1.0's" },
    { SIZED: 3, what: "has unknown fields at its end" },
  ])("a plugin works if its struct $what", async ({ SIZED }) => {
    const plugin = nativeLayer("plugin", await sized("plugin", SIZED));
    await using stack = await nativeStack([], {}, { plugin });
    const { top } = await stack.connect();
    const buf = new Uint8Array(1000);
    await top.pread(buf, 251n, 0);
    expect(buf).toEqual(Uint8Array.from({ length: 1000 }, (_, i) => i % 251));
    expect(await top.canZero()).toBe("none");
    expect(stack.chain.threadModel).toBe("serialize_all_requests");
  });
});

/** `sizeof (struct nbdkit_plugin)` in each release, and one that is larger than all. */
const pluginSizes = [
  { size: 176, release: "1.0" },
  { size: 192, release: "1.1.13" },
  { size: 200, release: "1.2" },
  { size: 256, release: "1.4" },
  { size: 264, release: "1.8" },
  { size: 272, release: "1.10" },
  { size: 288, release: "1.12" },
  { size: 312, release: "1.14" },
  { size: 320, release: "1.16" },
  { size: 328, release: "1.17.1" },
  { size: 336, release: "1.18" },
  { size: 344, release: "1.22" },
  { size: 352, release: "1.21.22" },
  { size: 368, release: "1.24" },
  { size: 376, release: "1.26" },
  { size: 384, release: "1.30" },
  { size: 392, release: "no known release" },
];

describe.skipIf(!haveCompiler)("plugins of every size (needs cc)", () => {
  test.each(pluginSizes)("work with $size bytes, as in $release", async ({ size }) => {
    const path = await compileModule("test/fixtures/sized-plugin.c", {
      defines: { SIZED: 2, STRUCT_SIZE: size },
    });
    const plugin = nativeLayer("plugin", path);
    expect(Object.fromEntries(plugin.dumpFields)).toMatchObject({
      api_version: "1",
      struct_size: String(size),
      has__pread_v1: "1",
    });
    await using stack = await nativeStack([], {}, { plugin });
    const { top } = await stack.connect();
    const buf = new Uint8Array(300);
    await top.pread(buf, 502n, 0);
    expect(buf).toEqual(Uint8Array.from({ length: 300 }, (_, i) => i % 251));
  });
});

test.skipIf(!haveCompiler)(
  "a plugin whose struct ends within a field lacks this field (needs cc)",
  async () => {
    const path = await compileModule("test/fixtures/sized-plugin.c", {
      defines: { SIZED: 2, STRUCT_SIZE: "(offsetof (struct nbdkit_plugin, pread) + 4)" },
    });
    expect(() => nativeLayer("plugin", path)).toThrow("plugin must have a .pread callback");
  },
);

describe.skipIf(!haveCompiler)("unmarked filters (needs cc)", () => {
  const foreign = (FOREIGN: number) =>
    compileModule("test/fixtures/foreign.c", { defines: { FOREIGN } });

  for (const readonly of [false, true]) {
    test.each([
      { FOREIGN: 1, how: "as original", release: "original", model: "parallel" },
      { FOREIGN: 2, how: "as 1.2", release: "1.2", model: "serialize_connections" },
      { FOREIGN: 2, how: "by default", release: undefined, model: "serialize_connections" },
    ] as const)(
      `are loaded $how and work with readonly=${readonly}`,
      async ({ FOREIGN, release, model }) => {
        const filter = nativeLayer("filter", await foreign(FOREIGN), { release });
        await using stack = await nativeStack([filter]);
        expect(stack.chain.threadModel).toBe(model);
        const { top } = await stack.connect(readonly);
        expect(await top.getSize()).toBe(65536n - 512n);
        const buf = new Uint8Array(512);
        await top.pread(buf, 0n, 0);
        expect(buf).toEqual(stack.disk.slice(512, 1024));
        expect(await errnoOf(() => top.pwrite(buf, 512n, 0))).toBe(
          readonly ? "EINVAL" : "no error",
        );
      },
    );
  }

  test("fail in open without --filter-release=original, and the error names the option", async () => {
    await using stack = await nativeStack([nativeLayer("filter", await foreign(1))]);
    const failure = await stack.connect().catch((error: unknown) => error);
    expect(failure).toMatchObject({
      errno: "EIO",
      message: expect.stringMatching(
        /^foreign: open did not open the layer below: .*--filter-release=.*\.so=original$/,
      ),
    });
  });

  test("may be loaded as 1.2, unlike marked ones", async () => {
    const marked = await compileModule("examples/xor/xor.c");
    expect(() => nativeLayer("filter", marked, { release: "1.2" })).toThrow(
      "xor.so: this filter is marked as one of the original form, but --filter-release chooses the layout of nbdkit 1.2",
    );
    expect(nativeLayer("filter", marked, { release: "original" }).name).toBe("xor");
  });

  test.skipIf(!installed("nbdinfo"))("get readonly in open (needs nbdinfo)", async () => {
    for (const [FOREIGN, flags] of [
      [1, ["-r"]],
      [1, []],
      [2, ["-r"]],
      [2, []],
    ] as const) {
      const filter = await foreign(FOREIGN);
      const release = FOREIGN === 1 ? [`--filter-release=${filter}=original`] : [];
      const args = [...flags, "-v", ...release, `--filter=${filter}`, "memory", "64k"];
      await using server = await serve(args);
      expect((await run(["nbdinfo", "--size", server.uri])).stdout).toBe("65024\n");
      const { stderr } = await server.stop();
      expect(stderr).toContain(`debug: foreign open readonly=${flags.length}`);
    }
  });
});
