/** Reads the project's headers under every choice of their macros into one model. */
import { callbacksOf, type CType, SourceError, structOf, type Unit } from "./ir.ts";
import { layoutOf } from "./layout.ts";
import { type Macro, scanMacros } from "./parse/constants.ts";
import { parseUnit } from "./parse/declarations.ts";
import { preprocess, type Tree } from "./parse/preprocess.ts";

/** One generation of the filter interface. */
interface Generation {
  /** As in the names of macros and generated tables. */
  readonly id: string;
  readonly unit: Unit;
}

export interface Model {
  readonly generations: readonly Generation[];
  /** Where the data callbacks with flags have the public names. */
  readonly plugin: Unit;
  readonly pluginVersions: readonly number[];
  readonly runtime: Unit;
  readonly macros: readonly Macro[];
  readonly runtimeMacros: readonly Macro[];
}

export const headers = {
  common: "include/nbdkit-common.h",
  filter: "include/nbdkit-filter.h",
  plugin: "include/nbdkit-plugin.h",
  runtime: "abi/runtime/runtime.h",
} as const;

/** In order of time. Each has an NBDKIT_GENERATION_ macro. */
const generationIds = ["S", "A"] as const;
const pluginVersions = [1, 2] as const;

/** Read the headers below `root`. */
export async function readModel(root: string): Promise<Model> {
  const tree = { root, folders: ["include", "abi/runtime"] };
  const generations: Generation[] = [];
  for (const id of generationIds) {
    const define = {
      NBDKIT_FILTER_GENERATION: `NBDKIT_GENERATION_${id}`,
      NBDKIT_API_VERSION: "2",
    };
    generations.push({ id, unit: await read(tree, "nbdkit-filter.h", define) });
  }
  const [old, plugin] = await Promise.all(
    pluginVersions.map((version) =>
      read(tree, "nbdkit-plugin.h", { NBDKIT_API_VERSION: String(version) }),
    ),
  );
  if (old === undefined || plugin === undefined)
    throw new Error("two plugin API versions expected");
  assertSameLayout(old, plugin);
  const macros = await Promise.all(
    [headers.common, headers.filter, headers.plugin].map((file) => scanMacros(tree, file)),
  );
  return {
    generations,
    plugin,
    pluginVersions,
    runtime: await read(tree, "runtime.h", {}),
    macros: macros.flat(),
    runtimeMacros: await scanMacros(tree, headers.runtime),
  };
}

async function read(
  tree: Tree,
  header: string,
  define: Readonly<Record<string, string>>,
): Promise<Unit> {
  const unit = await parseUnit(await preprocess(tree, { header, define }));
  assertNamesKnown(unit);
  return unit;
}

/** Every function type that a callback uses must be declared: what is generated calls it. */
function assertNamesKnown(unit: Unit): void {
  for (const struct of unit.structs.values()) {
    for (const callback of callbacksOf(struct)) {
      for (const parameter of callback.signature.parameters) {
        const name = target(parameter.type);
        if (name === undefined || unit.functionTypes.has(name)) continue;
        const remedy = `declare it before, as \`typedef int ${name} (...)\``;
        throw new SourceError(parameter.at, `unknown type: ${name}`, remedy);
      }
    }
  }
}

function target(type: CType): string | undefined {
  if (type.kind === "pointer") return target(type.to);
  return type.kind === "named" ? type.name : undefined;
}

/** A plugin's API versions differ in names only: pread and _pread_v2 against _pread_v1 and pread. */
function assertSameLayout(one: Unit, two: Unit): void {
  const [first, second] = [structOf(one, "nbdkit_plugin"), structOf(two, "nbdkit_plugin")];
  const names = new Set(second.fields.map(({ name }) => name));
  const offsets = new Map(layoutOf(second, two).fields.map(({ name, offset }) => [name, offset]));
  const texts = new Map(second.fields.map(({ name, text }) => [name, text.replace(name, "")]));
  const layout = layoutOf(first, one).fields;
  for (const [index, { name, at, text }] of first.fields.entries()) {
    const twin = names.has(`_${name}_v1`) ? `_${name}_v1` : name.replace(/^_(\w+)_v2$/, "$1");
    const offset = layout[index]?.offset;
    if (offset === offsets.get(twin) && text.replace(name, "") === texts.get(twin)) continue;
    throw new SourceError(
      at,
      `${name} of plugin API 1 is not what ${twin} is in API 2, or not at the same offset`,
      "declare the same fields for both versions of the API, under NAME and _NAME_v1 or _v2",
    );
  }
}
