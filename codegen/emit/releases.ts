/** Emits releases.gen.ts: the differences between the layouts of the filter interface. */
import type { SourceFile } from "ts-morph";

import { callbacksOf, type Parameter, structOf } from "../ir.ts";
import { headers, type Model, type Release } from "../model.ts";
import { adapterMacro, adapterName, layoutName, releasePrefix } from "../names.ts";
import type { GeneratedFile } from "../output.ts";
import { addConstant, objectText, typescriptFile } from "./typescript.ts";

interface Fact {
  readonly about: string;
  readonly type: "boolean" | "string";
  of(facts: Facts): string;
}

/** Questions about the structs of a layout. */
interface Facts {
  /** Whether struct nbdkit_filter has the field. */
  has(field: string): boolean;
  /** Whether the callback has the parameter. */
  takes(callback: string, parameter: string): boolean;
  /** Whether struct nbdkit_next_ops has the function. */
  nextHas(name: string): boolean;
  nextTakes(name: string, parameter: string): boolean;
}

/** The differences. All follow from the headers. */
const facts: Readonly<Record<string, Fact>> = {
  structSize: {
    about: "Whether the struct begins with its size.",
    type: "boolean",
    of: ({ has }) => String(has("_struct_size")),
  },
  versionString: {
    about: "Whether the struct has `_version`, the release that the filter was compiled for.",
    type: "boolean",
    of: ({ has }) => String(has("_version")),
  },
  threadModelField: {
    about: "Whether the struct has the field `_thread_model`.",
    type: "boolean",
    of: ({ has }) => String(has("_thread_model")),
  },
  hasErr: {
    about: "Whether requests report their errno through `err`.",
    type: "boolean",
    of: ({ takes }) => String(takes("pwrite", "err")),
  },
  triStateZero: {
    about: "Whether can_zero answers NBDKIT_ZERO_*, not 0 or 1.",
    type: "boolean",
    // The same release brought both.
    of: ({ has }) => String(has("can_fast_zero")),
  },
  openForm: {
    about:
      "The parameters of open: only readonly, so the server opens the next layer; also next; also the export's " +
      "name; also is_tls.",
    type: "string",
    of: ({ takes }) => {
      if (!takes("open", "next")) return '"readonly"';
      if (!takes("open", "exportname")) return '"next"';
      return takes("open", "is_tls") ? '"tls"' : '"export-name"';
    },
  },
  reopenForm: {
    about: "The parameters of next_ops->reopen: readonly, or also the export's name.",
    type: "string",
    of: ({ nextHas, nextTakes }) => {
      if (!nextHas("reopen")) return '"none"';
      return nextTakes("reopen", "exportname") ? '"export-name"' : '"readonly"';
    },
  },
  ownContexts: {
    about: "Whether filters may open the layers below by nbdkit_next_context_open.",
    type: "boolean",
    of: ({ nextHas }) => String(nextHas("prepare")),
  },
};

function factsOf({ unit }: Release): Facts {
  const takes = (struct: string) => {
    const callbacks = callbacksOf(structOf(unit, struct));
    const table = new Map(callbacks.map(({ name, signature }) => [name, signature.parameters]));
    return (name: string, parameter: string): boolean =>
      table.get(name)?.some((found: Parameter) => found.name === parameter) ?? false;
  };
  const has = (struct: string) => {
    const names = new Set(structOf(unit, struct).fields.map(({ name }) => name));
    return (name: string): boolean => names.has(name);
  };
  return {
    has: has("nbdkit_filter"),
    takes: takes("nbdkit_filter"),
    nextHas: has("nbdkit_next_ops"),
    nextTakes: takes("nbdkit_next_ops"),
  };
}

/** The row of a layout: the source text of each property. */
type Row = Readonly<Record<string, string>>;

function rowOf(release: Release): Row {
  const known = factsOf(release);
  return {
    number: String(release.number),
    filter: layoutName("filter", release.id),
    nextOps: layoutName("nextOps", release.id),
    adapter: adapterMacro(adapterName(release.id)),
    ...Object.fromEntries(Object.entries(facts).map(([name, fact]) => [name, fact.of(known)])),
  };
}

export function emitReleases(model: Model): GeneratedFile {
  const rows = model.releases.map((release) => ({
    id: release.id,
    row: rowOf(release),
  }));
  const all = (property: string) => rows.flatMap(({ row }) => row[property] ?? []);
  return typescriptFile("releases.gen.ts", [headers.filter], (file) => {
    file.addImportDeclaration({
      moduleSpecifier: "./layouts.gen.ts",
      namedImports: [
        ...[...all("filter"), ...all("nextOps")].map((name) => ({ name })),
        { name: "StructLayout", isTypeOnly: true },
      ],
    });
    file.addImportDeclaration({ moduleSpecifier: "./ops.gen.ts", namedImports: all("adapter") });
    const ids = rows.map(({ id }) => `"${id}"`).join(", ");
    addConstant(
      file,
      "releaseIds",
      `[${ids}] as const`,
      "The first release with each layout, in order of time.",
    );
    file.addTypeAlias({
      isExported: true,
      name: "ReleaseId",
      type: "(typeof releaseIds)[number]",
      docs: ["The first release with a layout; `original` came before all releases."],
    });
    addInterface(file, all);
    const entries = rows.map(
      ({ id, row }) => [`"${id}"`, objectText(Object.entries(row), "  ")] as const,
    );
    const type = "satisfies Readonly<Record<ReleaseId, Release>>";
    addConstant(file, "releases", `${objectText(entries)} as const ${type}`, "By id.");
  });
}

function addInterface(file: SourceFile, all: (property: string) => string[]): void {
  const properties = [
    { name: "number", type: "number", docs: [`${releasePrefix}*.`] },
    { name: "filter", type: "StructLayout", docs: ["struct nbdkit_filter."] },
    { name: "nextOps", type: "StructLayout", docs: ["struct nbdkit_next_ops."] },
    { name: "adapter", type: "number", docs: ["For rt_module_add."] },
    ...Object.entries(facts).map(([name, { about, type }]) => ({
      name,
      type: type === "boolean" ? type : [...new Set(all(name))].join(" | "),
      docs: [about],
    })),
  ];
  file.addInterface({
    isExported: true,
    name: "Release",
    docs: [
      "The layouts that a release brought, and other differences. The layouts show which callbacks exist.",
    ],
    properties: properties.map((property) => ({ ...property, isReadonly: true })),
  });
}
