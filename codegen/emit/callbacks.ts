/** Emits callbacks.gen.ts: the table of callbacks that the server reads at run time. */
import type { SourceFile } from "ts-morph";

import { headers, type Model } from "../model.ts";
import { camelCase } from "../names.ts";
import type { GeneratedFile } from "../output.ts";
import { type CallbackMeaning, callbacks, flagMacro, messages } from "../semantics.ts";
import { opsOf } from "./ops.ts";
import { addConstant, objectText, typescriptFile } from "./typescript.ts";

interface Column {
  readonly name: string;
  readonly type: string;
  readonly about: string;
  /** The source text; undefined if the row lacks the column. */
  of(meaning: CallbackMeaning, cName: string): string | undefined;
}

const optional = (value: unknown): string | undefined =>
  value === undefined ? undefined : JSON.stringify(value);
const unionOf = (names: Iterable<string>): string =>
  [...names].map((name) => JSON.stringify(name)).join(" | ");
const meanings = Object.values(callbacks);
const returned = new Set(meanings.map(({ returns }) => returns));

/** The columns after `cName` and `op`. */
const columns: readonly Column[] = [
  {
    name: "returns",
    type: unionOf(returned),
    about: "The meaning of the return value.",
    of: ({ returns }) => optional(returns),
  },
  {
    name: "pluginReturns",
    type: unionOf(returned),
    about: "The meaning of a plugin's return value, if that differs.",
    of: ({ pluginReturns }) => optional(pluginReturns),
  },
  {
    name: "scope",
    type: unionOf(new Set(meanings.map(({ scope }) => scope))),
    about: "The subject of the call: the module, the configured layer, or a connection.",
    of: ({ scope }) => optional(scope),
  },
  ...(["filter", "next", "plugin"] as const).map((place) => ({
    name: place,
    type: "boolean",
    about: `Whether a ${place === "next" ? "filter's `next`" : place} in TypeScript has it.`,
    of: ({ offered }: CallbackMeaning) => String(offered.includes(place)),
  })),
  {
    name: "required",
    type: "true",
    about: "Every plugin must have it.",
    of: ({ required }) => optional(required),
  },
  {
    name: "nextIs",
    type: "string",
    about: "The type of a filter's `next`, if that is a function.",
    of: ({ next }) => optional(next),
  },
  {
    name: "flags",
    type: "number",
    about: "The flags that the request can have. Only requests have this column.",
    of: ({ flags }) =>
      flags === undefined
        ? undefined
        : flags.map((flag) => flagMacro(flag).replace("NBDKIT_", "")).join(" | ") || "0",
  },
  {
    name: "carries",
    type: unionOf(new Set(messages.values())),
    about: "The struct with its arguments in messages to and from C, without rt_.",
    of: (_, cName) => optional(messages.get(cName)),
  },
  {
    name: "replacedBy",
    type: "string",
    about: "The callback that API 2 has instead of this one.",
    of: ({ replacedBy }) => optional(replacedBy),
  },
  {
    name: "default",
    type: "Answer",
    about: "The answer of a plugin without it.",
    of: ({ default: answer }) => optional(answer),
  },
  {
    name: "defaultWith",
    type: "{ readonly has: string; readonly answer: Answer }",
    about: "The answer of a plugin that lacks it, but has the callback `has`.",
    of: ({ defaultWith: found }) => optional(found && { ...found, has: camelCase(found.has) }),
  },
  {
    name: "olderFilter",
    type: "OlderFilter",
    about: "The answer of a filter for a release without it.",
    of: ({ olderFilter: found }) =>
      optional(found && { ...found, needs: found.needs && camelCase(found.needs) }),
  },
  {
    name: "askedIf",
    type: "readonly string[]",
    about:
      "Asked only if each of these, in this order, does not answer no. Otherwise the answer is no.",
    of: ({ askedIf }) => optional(askedIf?.map(camelCase)),
  },
];

/** A row: its key, and the source text of its columns. */
interface Row {
  readonly name: string;
  readonly columns: Readonly<Record<string, string>>;
}

function rowsOf(model: Model): Row[] {
  const ops = opsOf(model);
  return Object.entries(callbacks).map(([cName, meaning]) => {
    const found = columns.flatMap(({ name, of }): (readonly [string, string])[] => {
      const text = of(meaning, cName);
      return text === undefined ? [] : [[name, text]];
    });
    const own = { cName: JSON.stringify(cName), op: String(ops.indexOf(cName) + 1) };
    return { name: camelCase(cName), columns: { ...own, ...Object.fromEntries(found) } };
  });
}

export function emitCallbacks(model: Model): GeneratedFile {
  const inputs = [headers.common, headers.filter, headers.plugin];
  return typescriptFile("callbacks.gen.ts", inputs, (file) => {
    const flags = new Set(meanings.flatMap(({ flags: names }) => names ?? []));
    file.addImportDeclaration({
      moduleSpecifier: "./constants.gen.ts",
      namedImports: [...flags].map((flag) => flagMacro(flag).replace("NBDKIT_", "")),
    });
    const rows = rowsOf(model);
    addTypes(file, rows);
    const entries = rows.map(
      ({ name, columns: texts }) => [name, objectText(Object.entries(texts), "  ")] as const,
    );
    const type = "as const satisfies Readonly<Record<string, Callback>>";
    addConstant(
      file,
      "callbacks",
      `${objectText(entries)} ${type}`,
      "All callbacks of filters and plugins, by their names in TypeScript, in the order of a life.",
    );
  });
}

function addTypes(file: SourceFile, rows: readonly Row[]): void {
  file.addTypeAlias({
    name: "Answer",
    type: "boolean | string | Readonly<Record<string, number>>",
  });
  file.addInterface({
    name: "OlderFilter",
    docs: [
      "The answer of a filter that has one of these callbacks, by their names in C, if `needs` is not answered no.",
    ],
    properties: [
      { name: "has", type: "readonly string[]", isReadonly: true },
      { name: "needs", type: "string", isReadonly: true, hasQuestionToken: true },
      { name: "answer", type: "Answer", isReadonly: true },
    ],
  });
  const property = ({ name, type, about }: Omit<Column, "of">) => ({
    name,
    type,
    docs: [about],
    isReadonly: true,
    hasQuestionToken: rows.some((row) => !Object.hasOwn(row.columns, name)),
  });
  file.addInterface({
    isExported: true,
    name: "Callback",
    docs: ["A row of the table."],
    properties: [
      property({ name: "cName", type: "string", about: "Its name in C." }),
      property({
        name: "op",
        type: "number",
        about: "RT_OP_*, its number in messages to and from C.",
      }),
      ...columns.map(property),
    ],
  });
}
