/** The golden case of the emitters, and errors for tables that do not match the headers. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";

import { emitAdapters } from "../../codegen/emit/adapters.ts";
import { emitLayouts } from "../../codegen/emit/layouts.ts";
import { emitMessages } from "../../codegen/emit/messages.ts";
import { emitOps } from "../../codegen/emit/ops.ts";
import { emitReleases } from "../../codegen/emit/releases.ts";
import { emitSymbols } from "../../codegen/emit/symbols.ts";
import { generate } from "../../codegen/generate.ts";
import { readModel } from "../../codegen/model.ts";
import {
  cases,
  expectGolden,
  hasCompiler,
  headerPaths,
  needsCompiler,
  root,
  temporary,
} from "./compiler-fixture.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

/** Run the generator on the project's headers with `from` replaced in one of them. */
async function refusal(file: string, from: string, to: string): Promise<string> {
  await using copy = await temporary();
  for (const path of headerPaths) {
    await cp(join(root, path), join(copy.path, path), { recursive: true });
  }
  const path = join(copy.path, file);
  const text = await Bun.file(path).text();
  expect([from, text.includes(from)]).toEqual([from, true]);
  await Bun.write(path, text.replace(from, to));
  return await generate(copy.path).then(
    () => "nothing",
    (error: Error) => error.message.replaceAll(/:\d+:\d+:/g, ":L:C:"),
  );
}

const filter = "include/nbdkit-filter.h";
const plugin = "include/nbdkit-plugin.h";
const common = "include/nbdkit-common.h";

describe.skipIf(!hasCompiler)(`emitters${needsCompiler}`, () => {
  test("emit the golden files of cases/small", async () => {
    const model = await readModel(join(cases, "small"));
    const files = [
      ...emitAdapters(model),
      emitReleases(model),
      emitLayouts(model),
      emitMessages(model),
      emitOps(model),
      emitSymbols(model),
    ];
    for (const { path, text } of files) expectGolden(`small/expected/${path}.txt`, text);
  });

  test("emit the same bytes from the same input", async () => {
    expect(await generate(root)).toEqual(await generate(root));
  });
});

describe.skipIf(!hasCompiler)(`one to one${needsCompiler}`, () => {
  test("lists callbacks that only the headers or only the tables have", async () => {
    expect(await refusal(plugin, "(*block_size)", "(*sector_size)")).toBe(
      "include/nbdkit-plugin.h:L:C: plugin.sector_size is not in callbacks of codegen/semantics.ts\n" +
        "callbacks of codegen/semantics.ts: plugin.block_size is not in the headers\n" +
        "describe what is new, and remove what is gone",
    );
  });

  test("refuses a callback in a struct that its row does not name", async () => {
    const from = "  int (*prepare) (";
    expect(await refusal(plugin, "  void (*cleanup) (void);", `${from}void *handle);`)).toStartWith(
      "include/nbdkit-plugin.h:L:C: plugin.prepare is not in callbacks of codegen/semantics.ts\n" +
        "callbacks of codegen/semantics.ts: plugin.cleanup is not in the headers\n",
    );
  });

  test("refuses a layout that comes after NBDKIT_FILTER_NEWEST_", async () => {
    const newest = "#define NBDKIT_FILTER_NEWEST_ ";
    const later = `#define NBDKIT_FILTER_RELEASE_1_98 9900\n${newest}`;
    const message = await refusal("include/nbdkit-filter-releases.h", newest, later);
    expect(message).toContain("L:C: NBDKIT_FILTER_NEWEST_ is not the newest layout");
    expect(message).toEndWith("define it as NBDKIT_FILTER_RELEASE_1_98");
  });

  test.each([
    [filter, "const char *longname;", "const char *title;", "filter.title is not in data"],
    [
      common,
      "nbdkit_parse_bool (",
      "nbdkit_parse_truth (",
      "nbdkit_parse_truth is not in functions",
    ],
    [
      filter,
      "#define NBDKIT_FILTER_MARKER_ORIGINAL",
      "#define NBDKIT_NEW 1\n#define NBDKIT_FILTER_MARKER_ORIGINAL",
      "NBDKIT_NEW is not in codegen/constants.ts",
    ],
    [
      filter,
      "typedef int nbdkit_next_config (",
      "typedef int nbdkit_next_close (void *nxdata);\ntypedef int nbdkit_next_config (",
      "nbdkit_next_close is not in nextFunctions",
    ],
    [
      plugin,
      "(*cache) (void *handle, uint32_t count",
      "(*cache) (void *handle, uint32_t size",
      "size is not in parameters",
    ],
  ])("refuses what the tables for %s lack: %s", async (file, from, to, message) => {
    expect(await refusal(file, from, to)).toContain(message);
  });

  test("refuses a C type that does not fit its meaning in the tables", async () => {
    expect(
      await refusal(
        plugin,
        "int64_t (*get_size) (void *handle);",
        "int (*get_size) (void *handle);",
      ),
    ).toBe(
      'include/nbdkit-plugin.h:L:C: get_size returns int, which cannot mean "size"\n' +
        "  int (*get_size) (void *handle);\n" +
        "  ^\n" +
        '"size" is int64_t: change the header or codegen/semantics.ts',
    );
  });

  test.each([
    [
      plugin,
      "int (*config) (const char *key",
      "int (*config) (int key",
      "key is int, expected pointer",
    ],
    [
      filter,
      "int (*pread) (NBDKIT_NXDATA_, void *buf, uint32_t count,",
      "int (*pread) (NBDKIT_NXDATA_, void *buf,",
      "buf comes without its length, count",
    ],
    [
      common,
      "NBDKIT_CACHE_EMULATE 1",
      "NBDKIT_CACHE_EMULATE 3",
      "must have the same names and values",
    ],
    [
      filter,
      "NBDKIT_FILTER_MARKER_ORIGINAL 0x4e424453",
      "NBDKIT_FILTER_MARKER_ORIGINAL sizeof (int)",
      "NBDKIT_FILTER_MARKER_ORIGINAL is not an integer",
    ],
    [
      filter,
      "typedef int nbdkit_next_config (",
      "typedef int nbdkit_following (",
      "unknown type: nbdkit_next_config",
    ],
    [
      filter,
      "(*get_size) (NBDKIT_NXDATA_)",
      "(*get_size) (void *handle)",
      "get_size does not begin with nxdata",
    ],
    [
      plugin,
      "int (*_flush_v2) (void *handle, uint32_t flags);",
      "int _flush_v2;",
      "_flush_v2 of plugin API 1 is not what flush is in API 2",
    ],
    [
      "abi/runtime/runtime.h",
      "void *handle;",
      "void *grip;",
      "handle of struct rt_downcall carries handle",
    ],
    [
      "abi/runtime/runtime.h",
      "void rt_free (void *memory)",
      "void rt_free (struct rt_slot slot)",
      "rt_free passes a struct",
    ],
  ])("refuses %s with %s as %s", async (file, from, to, message) => {
    expect(await refusal(file, from, to)).toContain(message);
  });
});
