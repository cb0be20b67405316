/** The members and functions that the manuals for authors must describe, from the headers and the generated types. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { structOf } from "../../codegen/ir.ts";
import { exportedFunctions, type Model, readModel } from "../../codegen/model.ts";
import { camelCase } from "../../codegen/names.ts";

export const root = join(import.meta.dirname, "../..");

/** A member or function with a heading of its own in a manual. */
interface Entry {
  readonly name: string;
  /** Its newest declaration in the headers. */
  readonly c: string;
  /** Its declaration in the TypeScript interfaces, if any. */
  readonly typescript: string | undefined;
  /** The first stable release of nbdkit that has it, if the headers say so. */
  readonly since: string | undefined;
}

export interface Page {
  readonly file: string;
  readonly entries: readonly Entry[];
  /** Names without a heading that the page must mention. */
  readonly named: readonly string[];
}

/** The TypeScript counterparts of C fields that are not functions. */
const dataInTypeScript: Readonly<Record<string, string>> = {
  name: "name: string",
  longname: "longName?: string",
  version: "version?: string",
  description: "description?: string",
  config_help: "params?: Params",
  magic_config_key: "magicConfigKey?: string",
};

/** The manuals, with the entries that each must have. */
export async function pages(): Promise<readonly Page[]> {
  const model = await readModel(root);
  const filter = fieldsOf(model, "nbdkit_filter");
  const next = fieldsOf(model, "nbdkit_next_ops");
  const newest = new Set(
    model.releases
      .slice(-1)
      .flatMap(({ unit }) => structOf(unit, "nbdkit_next_ops").fields.map(({ name }) => name)),
  );
  const plugin = new Map(
    structOf(model.plugin, "nbdkit_plugin").fields.map(({ name, text }) => [name, text]),
  );
  return [
    page(
      "nbdkit-plugin.md",
      plugin,
      methodsOf("PluginMethods"),
      definitionOf("Described", "PluginDefinition"),
    ),
    page(
      "nbdkit-filter.md",
      filter,
      methodsOf("FilterMethods"),
      [
        ...definitionOf("Described", "FilterDefinition"),
        ...next.keys().map((name) => (newest.has(name) ? `next->${name}` : `next_ops->${name}`)),
        ...methodsOf("NextOps")
          .keys()
          .map((name) => `next.${name}`),
        ...model.releases.flatMap(({ id, unit }) => [`| ${id}`, ...unit.functionTypes.keys()]),
      ],
      filterSince(model),
    ),
    page(
      "nbdkit-functions.md",
      new Map(exportedFunctions(model).map(({ name, text }) => [name, text])),
      new Map(),
      typescriptExports(),
    ),
  ];
}

/** The macros that modules may use; a name that ends in `_` is the headers' own. */
export async function macros(): Promise<readonly string[]> {
  const model = await readModel(root);
  return model.macros.map(({ name }) => name).filter((name) => /^NBDKIT_.*[^_]$/.test(name));
}

/** The fields of a struct in all layouts, each in its newest form. */
function fieldsOf({ releases }: Model, struct: string): Map<string, string> {
  const fields = releases.flatMap(({ unit }) => structOf(unit, struct).fields);
  return new Map(fields.map(({ name, text }) => [name, text]));
}

/** The first stable release after a layout that only development releases have. */
const stable: Readonly<Record<string, string>> = {
  original: "1.2",
  "1.15.1": "1.16",
  "1.17.1": "1.18",
  "1.21.12": "1.22",
  "1.21.22": "1.22",
};

/** The first release with each field of a filter. */
function filterSince({ releases }: Model): Map<string, string | undefined> {
  // A Map keeps the last entry of a key, which is that of the oldest layout.
  const oldestLast = releases.toReversed();
  return new Map(
    oldestLast.flatMap(({ id, unit }) =>
      structOf(unit, "nbdkit_filter").fields.map(({ name }) => [name, stable[id] ?? id] as const),
    ),
  );
}

function page(
  file: string,
  declared: ReadonlyMap<string, string>,
  methods: ReadonlyMap<string, string>,
  named: readonly string[] = [],
  since: ReadonlyMap<string, string | undefined> = new Map(),
): Page {
  const entries = [...declared]
    .filter(([name]) => !name.startsWith("_"))
    .map(([name, text]): Entry => {
      const c = text.replace(/^extern /, "");
      const typescript = methods.get(camelCase(name)) ?? dataInTypeScript[name];
      return { name, c, typescript, since: since.get(name) };
    });
  return {
    file,
    entries,
    named: [...named, ...[...declared.keys()].filter((name) => name.startsWith("_"))],
  };
}

/** The methods of a generated interface, by name. */
function methodsOf(name: string): Map<string, string> {
  const text = readFileSync(join(root, "src/api/generated/methods.gen.ts"), "utf8");
  const body = new RegExp(`export interface ${name}\\b.*\\{\\n([^]*?)\\n\\}`).exec(text)?.[1] ?? "";
  return new Map(
    [...body.matchAll(/^ {2}(\w+)(\??\(.*\): .*);$/gm)].map(([, method = "", rest = ""]) => [
      method,
      method + rest.replace(/^\?/, ""),
    ]),
  );
}

/** The members of TypeScript modules other than methods. */
function definitionOf(...interfaces: readonly string[]): readonly string[] {
  const text = readFileSync(join(root, "src/api/define.ts"), "utf8");
  return interfaces.flatMap((name) => {
    const body = new RegExp(`interface ${name}\\b[^{]*\\{\\n([^]*?)\\n\\}`).exec(text)?.[1] ?? "";
    return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(]/gm)].map(([, found = ""]) => found);
  });
}

/** The exports of `#api` for TypeScript modules. */
function typescriptExports(): readonly string[] {
  const text = readFileSync(join(root, "src/api/index.ts"), "utf8").replaceAll(
    /\/\*[^]*?\*\//g,
    "",
  );
  const lists = [...text.matchAll(/export (?:type )?(?:\* as (\w+)|\{([^}]*)\})/g)];
  const names = lists.flatMap(([, all, list = ""]) =>
    all === undefined
      ? [...list.matchAll(/(\w+)\s*(?:,|$)/g)].map((found) => found[1] ?? "")
      : [all],
  );
  const storage = readFileSync(join(root, "src/api/storage.ts"), "utf8");
  const calls = storage.matchAll(/^(?:export (?:async )?(?:function|const)| {2}async) (\w+)/gm);
  return [...names, ...[...calls].map(([, name = ""]) => name)];
}

const widest = 76;

/** A declaration, wrapped after parameters. */
function wrapped(text: string): string {
  const lines = [""];
  for (const word of text.split(/(?<=,) /)) {
    const last = lines.at(-1) ?? "";
    if (last !== "" && last.length + 1 + word.length > widest) lines.push(`    ${word}`);
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return lines.join("\n");
}

/** The block of code below a heading with these entries. */
export function declarations(entries: readonly Entry[]): string {
  const lines = entries.flatMap(({ c, typescript }) =>
    typescript === undefined ? [`${c};`] : [`${c};`, typescript],
  );
  return lines
    .map(wrapped)
    .join("\n")
    .replaceAll(/^(?=.)/gm, "    ");
}

/** A heading of level 3 with names in backticks, and the text below it. */
export interface Section {
  readonly heading: string;
  readonly names: readonly string[];
  /** The block of declarations, if the text begins with one. */
  readonly block: string;
  readonly prose: string;
}

export function sectionsOf(manual: string): readonly Section[] {
  const parts = manual.split(/^(?=#{2,3} )/m).filter((part) => part.startsWith("### `"));
  return parts.map((part) => {
    const [, heading = "", body = ""] = /^### (.*)\n\n?([^]*)$/.exec(part) ?? [];
    const [, block = "", prose = ""] = /^((?: {4}.*\n)*)([^]*)$/.exec(body) ?? [];
    return {
      heading,
      names: [...heading.matchAll(/`([^`]+)`/g)].map((found) => found[1] ?? ""),
      block: block.trimEnd(),
      prose: prose.trim(),
    };
  });
}
