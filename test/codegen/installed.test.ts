/** Compares our headers with those of an installed nbdkit 1.30 to 1.34: structs, constants and prototypes. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { layouts } from "#abi/generated/layouts.gen";
import { exportedFunctions } from "#abi/generated/symbols.gen";

import { recordedPlugin } from "../abi/layouts-recorded.ts";
import {
  cases,
  compiler,
  hasCompiler,
  hasCxx,
  root,
  run,
  strict,
  temporary,
} from "./compiler-fixture.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

const read = (name: string): string => {
  const path = join("/usr/include", name);
  return existsSync(path) ? readFileSync(path, "utf8") : "";
};
const installed = {
  common: read("nbdkit-common.h"),
  filter: read("nbdkit-filter.h"),
  plugin: read("nbdkit-plugin.h"),
};
const minor = Number(/NBDKIT_VERSION_STRING "1\.(\d+)\./.exec(read("nbdkit-version.h"))?.[1]);
const isThere = minor >= 30 && minor < 35;
const missing = [
  isThere ? "" : "the headers of nbdkit 1.30 to 1.34, in Debian's nbdkit-plugin-dev",
  hasCompiler && hasCxx ? "" : "cc and its C++ half",
].filter(Boolean);
const needs = missing.length === 0 ? "" : ` (skipped: needs ${missing.join(" and ")})`;

const ok = { code: 0, stdout: "", stderr: "" };
/** Our header has the struct of every release, so it needs the choice of one. */
const ours = [
  "-I",
  join(root, "include"),
  "-DNBDKIT_FILTER_RELEASE=NBDKIT_FILTER_RELEASE_1_30",
] as const;

/** A program that prints the fields, functions and constants of a header as a C++ compiler sees them. */
function question(kind: "filter" | "plugin", structs: Readonly<Record<string, object>>): string {
  const text = installed.common + installed[kind];
  const functions = exportedFunctions.filter((name) => new RegExp(`\\b${name}\\b`).test(text));
  const constants = [...text.matchAll(/^#define (NBDKIT_\w+) +(?:\d+|\(1<<\d+\)) *(?:$|\/\*)/gm)];
  const lines = [
    ...Object.entries(structs).flatMap(([struct, fields]) => [
      `printf ("${struct} %zu\\n", sizeof (${struct}));`,
      ...Object.keys(fields).map((name) => {
        const field = `${struct}, ${name}), type<decltype (${struct}::${name})> ()`;
        return `printf ("${name} %zu %s\\n", offsetof (${field});`;
      }),
    ]),
    ...functions.map((name) => `printf ("${name} %s\\n", type<decltype (${name})> ());`),
    ...constants.map(([, name]) => `printf ("${name} %d\\n", ${name});`),
  ];
  return (
    "#define NBDKIT_API_VERSION 2\n" +
    `#include <nbdkit-${kind}.h>\n#include <cstddef>\n#include <cstdio>\n` +
    "template <typename T> static const char *type () { return __PRETTY_FUNCTION__; }\n" +
    `int main ()\n{\n${lines.join("\n")}\n}\n`
  );
}

async function answer(args: readonly string[], source: string): Promise<string[]> {
  await using folder = await temporary();
  const program = join(folder.path, "program");
  const built = await run(
    [compiler, "-xc++", "-std=c++17", "-Wall", "-Werror", ...args, "-o", program, "-"],
    { input: source, cwd: folder.path },
  );
  expect(built).toEqual(ok);
  const { code, stdout } = await run([program]);
  expect(code).toBe(0);
  // Our headers omit a const that has no effect, since C90 compilers warn about it.
  return stdout.replaceAll("const nbdkit_export(", "nbdkit_export(").split("\n");
}

describe.skipIf(missing.length > 0)(`headers of nbdkit${needs}`, () => {
  test("our structs of filters for nbdkit 1.30 are theirs", async () => {
    const source = question("filter", {
      nbdkit_filter: layouts.filter_1_30.fields,
      nbdkit_next_ops: layouts.nextOps_1_30.fields,
      nbdkit_extent: { offset: 0, length: 0, type: 0 },
      nbdkit_export: { name: 0, description: 0 },
    });
    const theirs = await answer([], source);
    expect(theirs.length).toBeGreaterThan(120);
    expect(await answer(ours, source)).toEqual(theirs);
  });

  test("our struct nbdkit_plugin begins like theirs", async () => {
    const rows = Object.entries(recordedPlugin)
      .filter(([release]) => Number(release.split(".")[1]) <= minor)
      .map(([, row]) => row);
    const names = rows.flatMap(({ fields }) => fields.replaceAll(/@\d+/g, "").split(" "));
    const source = question("plugin", {
      nbdkit_plugin: Object.fromEntries(names.map((name) => [name, 0])),
    });
    const theirs = await answer([], source);
    expect(theirs.length).toBeGreaterThan(90);
    expect(theirs[0]).toBe(`nbdkit_plugin ${rows.at(-1)?.size}`);
    // A later release may have made ours longer.
    expect((await answer(ours, source)).slice(1)).toEqual(theirs.slice(1));
  });

  test.each(["-std=gnu90", "-std=c11"])(
    "a filter for their headers compiles with ours (%s)",
    async (dialect) => {
      for (const args of [[], ours]) {
        const command = [compiler, dialect, ...strict, "-fsyntax-only", ...args];
        expect(await run([...command, join(cases, "c/filter-1.32.c")])).toEqual(ok);
      }
    },
  );

  test("our headers declare all functions of theirs", () => {
    const text = installed.common + installed.filter + installed.plugin;
    const declared = [...text.matchAll(/NBDKIT_EXTERN_DECL \([^,]+, (\w+),/g)].map(
      ([, name]) => name,
    );
    const known: readonly (string | undefined)[] = exportedFunctions;
    expect(declared.length).toBe(50);
    expect(declared.filter((name) => !known.includes(name))).toEqual([]);
  });
});

test("all functions that nbdkit 1.48.1 exports to modules are declared", () => {
  expect(new Set(exportedFunctions).size).toBe(60);
});
