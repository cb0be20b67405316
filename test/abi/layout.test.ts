/** Proves layouts.gen.ts against the C compiler and against nbdkit's releases: every field of every struct. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";

import { type FieldLayout, layouts, type StructLayout } from "#abi/generated/layouts.gen";
import { type Release, releaseIds, releases } from "#abi/generated/releases.gen";

import { releaseMacro } from "../../codegen/names.ts";
import { hasCompiler, needsCompiler, output, strict } from "../codegen/compiler-fixture.ts";
import { recorded, recordedPlugin } from "./layouts-recorded.ts";

// Compilers are slow on a busy machine.
setDefaultTimeout(60_000);

const release = (id: string) =>
  `#define NBDKIT_FILTER_RELEASE ${releaseMacro(id)}\n#include <nbdkit-filter.h>\n`;
const pluginHeader = (version: number) =>
  `#define NBDKIT_API_VERSION ${version}\n#include <nbdkit-plugin.h>\n`;

type RuntimeStruct = Exclude<
  keyof typeof layouts,
  `filter${string}` | `nextOps${string}` | "plugin"
>;
type Probe = readonly [name: string, layout: StructLayout, struct: string, header: string];

/** The structs of messages. The others are those of modules. */
const runtimeStructs = Object.keys(layouts).filter(
  (name): name is RuntimeStruct => !/^(filter|nextOps|plugin)/.test(name),
);

const probes: readonly Probe[] = [
  ...releaseIds.flatMap((id): Probe[] => [
    [`filter ${id}`, releases[id].filter, "nbdkit_filter", release(id)],
    [`next_ops ${id}`, releases[id].nextOps, "nbdkit_next_ops", release(id)],
  ]),
  ["plugin", layouts.plugin, "nbdkit_plugin", pluginHeader(2)],
  ...runtimeStructs.map((name): Probe => {
    const struct = `rt_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
    return [struct, layouts[name], struct, '#include "runtime.h"\n'];
  }),
];

/** The size and the fields according to the compiler, for which int and int32_t are one type. */
async function probe(struct: string, header: string, names: readonly string[]): Promise<unknown> {
  const inner = header.includes("runtime.h")
    ? 'bool: "bool", void *: "pointer", struct rt_message: "struct", ' +
      'union rt_arguments: "union", union rt_body: "union", '
    : "";
  const kind = (value: string) =>
    `_Generic (${value}, int: "int", uint32_t: "u32", int64_t: "i64", uint64_t: "u64", ` +
    `const char *: "string", ${inner}default: "function")`;
  const field = (name: string) =>
    `printf (",\\n\\"${name}\\": {\\"offset\\": %zu, \\"size\\": %zu, \\"kind\\": \\"%s\\"}", ` +
    `offsetof (struct ${struct}, ${name}), sizeof x.${name}, ${kind(`x.${name}`)});`;
  const text = await output(
    ["-std=c11", ...strict],
    `${header}#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n` +
      `int main (void)\n{\n  static struct ${struct} x;\n` +
      `  printf ("{\\"size\\": %zu, \\"fields\\": {\\"\\": 0", sizeof x);\n` +
      `${names.map(field).join("\n")}\n  printf ("}}");\n  return 0;\n}\n`,
  );
  const { size, fields } = JSON.parse(text) as { size: number; fields: Record<string, unknown> };
  delete fields[""];
  return { size, fields };
}

function asTheCompilerSays({ size, fields }: StructLayout): unknown {
  const plain = ({ offset, size: bytes, kind }: FieldLayout) => ({
    offset,
    size: bytes,
    kind: kind === "i32" ? "int" : kind,
  });
  return {
    size,
    fields: Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, plain(field)])),
  };
}

describe.skipIf(!hasCompiler)(`layouts${needsCompiler}`, () => {
  test.each(probes)(
    "%s has the sizes and offsets that cc gives it",
    async (_, layout, struct, header) => {
      const names = Object.keys(layout.fields);
      expect(await probe(struct, header, names)).toEqual(asTheCompilerSays(layout));
    },
  );

  test("a plugin of API version 1 has its fields in the same places", async () => {
    const { size, fields } = layouts.plugin;
    const entries = Object.entries<FieldLayout>(fields);
    const versioned = new Set(entries.flatMap(([name]) => /^_(\w+)_v1$/.exec(name)?.[1] ?? []));
    const renamed = entries.map(([name, field]) => {
      const bare = /^_(\w+)_v1$/.exec(name)?.[1];
      return [bare ?? (versioned.has(name) ? `_${name}_v2` : name), field] as const;
    });
    const layout = { size, fields: Object.fromEntries(renamed) };
    expect(await probe("nbdkit_plugin", pluginHeader(1), Object.keys(layout.fields))).toEqual(
      asTheCompilerSays(layout),
    );
  });
});

/** `name@offset …` of a layout, in its order. */
function offsets({ fields }: StructLayout): string {
  return Object.entries(fields)
    .map(([name, { offset }]) => `${name}@${offset}`)
    .join(" ");
}

describe("nbdkit's releases", () => {
  test("have the layouts of the header", () => {
    expect(Object.keys(recorded)).toEqual([...releaseIds]);
  });

  test.each(releaseIds)("have the fields of layout %s at these offsets", (id) => {
    const { filter, nextOps }: Release = releases[id];
    expect<unknown>({
      size: filter.size,
      fields: offsets(filter),
      nextSize: nextOps.size,
      nextFields: offsets(nextOps),
    }).toEqual({ ...recorded[id] });
  });

  test("have this struct nbdkit_plugin", () => {
    const rows = Object.values(recordedPlugin);
    expect<number | undefined>(layouts.plugin.size).toBe(rows.at(-1)?.size);
    expect(offsets(layouts.plugin)).toBe(rows.map(({ fields }) => fields).join(" "));
  });
});
