/** A new callback needs only its declarations in the headers and one row of semantics.ts. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { cp, symlink } from "node:fs/promises";
import { join } from "node:path";

import { releaseIds } from "#abi/generated/releases.gen";

import { releaseMacro } from "../../codegen/names.ts";
import { compiler, hasCompiler, needsCompiler, root, run, temporary } from "./compiler-fixture.ts";

// Two C modules and the native runtime are compiled.
setDefaultTimeout(240_000);

/** The files that a copy needs to generate code, check types and run the server. */
const parts = ["abi", "codegen", "include", "package.json", "src", "test/harness", "tsconfig.json"];

/** Insert text in front of the first `place` that follows `start`. */
async function addTo(path: string, start: string, place: string, text: string): Promise<void> {
  const before = await Bun.file(path).text();
  const from = before.indexOf(start);
  const at = before.indexOf(place, from);
  if (from < 0 || at < 0) throw new Error(`${path}: no ${start} … ${place}`);
  await Bun.write(path, before.slice(0, at) + text + before.slice(at));
}

const row = `  can_example: {
    about: "Whether the layer is an example.",
    ...connection,
    returns: "bool",
    default: false,
    askedIf: ["can_write"],
  },
`;

/** Answers the opposite of the layer below. */
const filterInC = `
#define NBDKIT_FILTER_API_VERSION 6
#include <nbdkit-filter.h>
static int
opposite (nbdkit_next *next, void *handle)
{
  (void) handle;
  int below = next->can_example (next);
  return below == -1 ? -1 : !below;
}
static struct nbdkit_filter filter = { .name = "opposite", .can_example = opposite };
NBDKIT_REGISTER_FILTER (filter)
`;

const pluginInC = `
#define NBDKIT_API_VERSION 2
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL
#include <nbdkit-plugin.h>
static void *example_open (int readonly) { (void) readonly; return NBDKIT_HANDLE_NOT_NEEDED; }
static int64_t size (void *handle) { (void) handle; return 512; }
static int yes (void *handle) { (void) handle; return 1; }
static int
nothing (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle, (void) buf, (void) count, (void) offset, (void) flags;
  return 0;
}
static struct nbdkit_plugin plugin = {
  .name = "example", .open = example_open, .get_size = size, .pread = nothing,
  .can_write = yes, .can_example = yes,
};
NBDKIT_REGISTER_PLUGIN (plugin)
`;

/** Prints the answers that callers get through chains of both languages, and the line for --dump-plugin. */
const program = `
import { nativeLayer, nativeStack, scriptLayer } from "#test/native";

const opposite = () => nativeLayer("filter", process.argv[2]);
const example = () => nativeLayer("plugin", process.argv[3]);
const script = (members) =>
  scriptLayer("plugin", {
    kind: "plugin", name: "script", open: () => ({}), getSize: () => 512n, pread() {},
    ...members,
  });
const writable = { pwrite() {} };
const plus = () =>
  scriptLayer("filter", { kind: "filter", name: "plus", canExample: (next) => next.canExample() });

async function ask(what, filters, plugin) {
  await using stack = await nativeStack(filters, {}, { plugin });
  const connection = await stack.connect();
  const answer = async () => {
    try {
      return await connection.top.canExample();
    } catch (error) {
      return error.message;
    }
  };
  console.log(what, await answer(), await answer());
}

await ask("TypeScript:", [], script({ ...writable, canExample: () => true }));
await ask("default:", [], script(writable));
await ask("read-only:", [], script({ canExample: () => true }));
await ask("wrong:", [], script({ ...writable, canExample: () => 1 }));
await ask("TypeScript over TypeScript:", [plus()], script({ ...writable, canExample: () => true }));
await ask("C:", [], example());
await ask("C over C:", [opposite()], example());
await ask("TypeScript over C over TypeScript:", [plus(), opposite()], script(writable));
console.log(example().dumpFields.filter(([name]) => name === "has_can_example").join());
`;

test.skipIf(!hasCompiler)(
  `a boolean callback works in both languages after its declarations and one row${needsCompiler}`,
  async () => {
    await using copy = await temporary();
    const at = (path: string) => join(copy.path, path);
    const filter = (path: string) => !path.endsWith(".test.ts");
    for (const part of parts) await cp(join(root, part), at(part), { recursive: true, filter });
    await symlink(join(root, "node_modules"), at("node_modules"));

    const newest = releaseIds.at(-1) ?? "";
    const next = `#if NBDKIT_FILTER_RELEASE >= ${releaseMacro(newest)}\n`;
    const inNext = `${next}  int (*can_example) (NBDKIT_NXDATA_);\n#endif\n`;
    const inFilter = `${next}  int (*can_example) (NBDKIT_NEXT_, void *handle);\n#endif\n`;
    const inPlugin = "\n  int (*can_example) (void *handle);";
    // nbdkit puts callbacks of filters among others, which moves later fields. The struct of plugins grows at its end.
    const inMiddle = "  int (*can_flush)";
    await addTo(at("include/nbdkit-filter.h"), "struct nbdkit_next_ops {", inMiddle, inNext);
    await addTo(at("include/nbdkit-filter.h"), "struct nbdkit_filter {", inMiddle, inFilter);
    await addTo(at("include/nbdkit-plugin.h"), "struct nbdkit_plugin {", "\n};", inPlugin);
    await addTo(at("codegen/semantics.ts"), "export const callbacks", "  pread: {", row);

    const inCopy = (...command: readonly string[]) =>
      run(["env", `XDG_CACHE_HOME=${at("cache")}`, ...command], { cwd: copy.path });
    expect(await inCopy(process.execPath, "codegen/main.ts")).toMatchObject({
      code: 0,
      stderr: "",
      stdout: expect.stringContaining("updated src/api/generated/callbacks.gen.ts"),
    });
    const expected = {
      "src/api/generated/callbacks.gen.ts": /canExample: \{\n +cName: "can_example"/,
      "src/api/generated/methods.gen.ts":
        /canExample\?\(next: NextOps, handle: H\): Awaitable<boolean>/,
      "abi/generated/layouts.gen.ts": /can_example/,
      [`abi/generated/filter-${newest.replaceAll(".", "-")}.gen.c`]: /->can_example \(/,
      "abi/generated/plugin.gen.c": /->can_example \(/,
    };
    for (const [path, pattern] of Object.entries(expected)) {
      expect(await Bun.file(at(path)).text()).toMatch(pattern);
    }
    expect(await inCopy(process.execPath, "check")).toMatchObject({ code: 0 });

    const modules: string[] = [];
    for (const [name, source] of Object.entries({ filter: filterInC, plugin: pluginInC })) {
      await Bun.write(at(`${name}.c`), source);
      modules.push(at(`${name}.so`));
      const flags = ["-Wall", "-Werror", "-shared", "-fPIC", "-Iinclude", "-o", `${name}.so`];
      expect(await inCopy(compiler, ...flags, `${name}.c`)).toMatchObject({ code: 0, stderr: "" });
    }
    await Bun.write(at("program.ts"), program);
    expect(await inCopy(process.execPath, "program.ts", ...modules)).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^nbdkit: compiling the native runtime [^\n]*\n$/),
      stdout: [
        "TypeScript: true true",
        "default: false false",
        "read-only: false false",
        "wrong: script: canExample returned 1 (a number): expected true or false script: " +
          "canExample returned 1 (a number): expected true or false",
        "TypeScript over TypeScript: true true",
        "C: true true",
        "C over C: false false",
        "TypeScript over C over TypeScript: true true",
        "has_can_example,1",
        "",
      ].join("\n"),
    });
  },
);
