/** Reads the project's headers into one model, for every choice of their macros. */
import {
  callbacksOf,
  type CType,
  type FunctionDeclaration,
  SourceError,
  structOf,
  type Unit,
} from "./ir.ts";
import { layoutOf } from "./layout.ts";
import { releaseOfMacro, releasePrefix } from "./names.ts";
import { type Macro, scanMacros } from "./parse/constants.ts";
import { parseUnit } from "./parse/declarations.ts";
import { preprocess, type Tree } from "./parse/preprocess.ts";

/** A release that brought a layout of the filter interface. */
export interface Release {
  /** The release, such as 1.18, or `original` for the form before all releases. */
  readonly id: string;
  /** The value of its macro, NBDKIT_FILTER_RELEASE_1_18. */
  readonly number: number;
  readonly unit: Unit;
}

export interface Model {
  /** In order of time. */
  readonly releases: readonly Release[];
  /** The ids of layouts by their deprecated names. */
  readonly oldNames: ReadonlyMap<string, string>;
  /** API 2, in which the callbacks with flags have the public names. */
  readonly plugin: Unit;
  readonly pluginVersions: readonly number[];
  readonly runtime: Unit;
  readonly macros: readonly Macro[];
  readonly runtimeMacros: readonly Macro[];
}

export const headers = {
  common: "include/nbdkit-common.h",
  filter: "include/nbdkit-filter.h",
  releases: "include/nbdkit-filter-releases.h",
  oldNames: "include/nbdkit-filter-generations.h",
  plugin: "include/nbdkit-plugin.h",
  runtime: "abi/runtime/runtime.h",
} as const;

const pluginVersions = [1, 2] as const;

/** Read the headers below `root`. */
export async function readModel(root: string): Promise<Model> {
  const tree = { root, folders: ["include", "abi/runtime"] };
  const macros = await Promise.all(
    [headers.common, headers.releases, headers.filter, headers.plugin].map((file) =>
      scanMacros(tree, file),
    ),
  );
  const [old, plugin] = await Promise.all(
    pluginVersions.map((version) =>
      read(tree, "nbdkit-plugin.h", { NBDKIT_API_VERSION: String(version) }),
    ),
  );
  if (old === undefined || plugin === undefined)
    throw new Error("two plugin API versions expected");
  assertSameLayout(old, plugin);
  return {
    releases: await readReleases(tree, macros.flat()),
    oldNames: await readOldNames(tree),
    plugin,
    pluginVersions,
    runtime: await read(tree, "runtime.h", {}),
    macros: macros.flat(),
    runtimeMacros: await scanMacros(tree, headers.runtime),
  };
}

/** The header for filters, once for each layout that it has a macro for. */
async function readReleases(tree: Tree, macros: readonly Macro[]): Promise<Release[]> {
  const inOrder = macros
    .filter(({ name }) => name.startsWith(releasePrefix))
    .toSorted((a, b) => integerOf(a) - integerOf(b));
  assertNewest(macros, inOrder);
  const releases = inOrder.map(async (macro) => {
    const define = { NBDKIT_FILTER_RELEASE: macro.name, NBDKIT_API_VERSION: "2" };
    const unit = await read(tree, "nbdkit-filter.h", define);
    return { id: releaseOfMacro(macro.name), number: integerOf(macro), unit };
  });
  return Promise.all(releases);
}

/** Check that NBDKIT_FILTER_NEWEST_ is the last layout, since the header refuses later ones. */
function assertNewest(macros: readonly Macro[], inOrder: readonly Macro[]): void {
  const newest = inOrder.at(-1)?.name;
  const macro = macros.find(({ name }) => name === "NBDKIT_FILTER_NEWEST_");
  if (macro === undefined || macro.at.source.split(/\s+/).at(2) === newest) return;
  const problem = `${macro.name} is not the newest layout`;
  throw new SourceError(macro.at, problem, `define it as ${newest}`);
}

/** `#define NBDKIT_GENERATION_G NBDKIT_FILTER_RELEASE_1_18` gives 1.18 for G. */
async function readOldNames(tree: Tree): Promise<Map<string, string>> {
  const macros = await scanMacros(tree, headers.oldNames);
  return new Map(
    macros.flatMap(({ at: { source } }) => {
      const match = /NBDKIT_GENERATION_(\w+) +(NBDKIT_FILTER_RELEASE_\w+)$/.exec(source);
      const [, name, macro] = match ?? [];
      return name === undefined || macro === undefined ? [] : [[name, releaseOfMacro(macro)]];
    }),
  );
}

/** The value of a macro, which must be one number. */
export function integerOf(macro: Macro): number {
  if (macro.differs !== undefined) {
    const problem = `${macro.name} has another value in line ${macro.at.line}`;
    const remedy =
      "give the constants of different conditions different names, " +
      "or list it in onlyInC of codegen/constants.ts";
    throw new SourceError(macro.differs, problem, remedy);
  }
  if (macro.value === undefined) {
    const remedy =
      "write it as a number or (1 << N); what only C needs is listed in onlyInC of codegen/constants.ts";
    throw new SourceError(macro.at, `${macro.name} is not an integer`, remedy);
  }
  return macro.value;
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

/** The functions that the server exports, in the order of the headers, each in its newest form. */
export function exportedFunctions(model: Model): FunctionDeclaration[] {
  const units = [model.plugin, ...model.releases.map(({ unit }) => unit)];
  return [...new Map(units.flatMap((unit) => [...unit.functions])).values()];
}

/** Check that every type of a callback is declared, since the generated code calls the callback. */
function assertNamesKnown(unit: Unit): void {
  for (const struct of unit.structs.values()) {
    for (const callback of callbacksOf(struct)) {
      for (const parameter of callback.signature.parameters) {
        const name = target(parameter.type);
        if (name === undefined || unit.functionTypes.has(name) || unit.opaqueTypes.has(name))
          continue;
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

/** Check that the versions of the plugin API differ only in names: pread and _pread_v2, or _pread_v1 and pread. */
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
