/** Emits methods.gen.ts: the interfaces that modules in TypeScript implement and call. */
import type { JSDocStructure, MethodSignatureStructure, OptionalKind, SourceFile } from "ts-morph";

import { type Callback, callbacksOf, type Struct, structOf } from "../ir.ts";
import { headers, type Model } from "../model.ts";
import { camelCase } from "../names.ts";
import type { GeneratedFile } from "../output.ts";
import {
  type CallbackMeaning,
  callbacks,
  failure,
  parameters,
  type Place,
  type Returns,
} from "../semantics.ts";
import { tableOf } from "./constants.ts";
import { typescriptFile } from "./typescript.ts";

export function emitMethods(model: Model): GeneratedFile {
  const inputs = [headers.common, headers.filter, headers.plugin];
  return typescriptFile("methods.gen.ts", inputs, (file) => {
    addImports(file);
    addTypes(file, model);
    addNextFunctions(file, model);
    file.addInterface({
      isExported: true,
      name: "NextOps",
      docs: ["The layer below a filter, in one connection."],
      methods: methodsOf(model, "next"),
    });
    file.addInterface({
      isExported: true,
      name: "FilterMethods",
      typeParameters: ["C", "H"],
      docs: [
        "The methods of a filter in TypeScript. `C` is the type of its parameters, `H` that of its handle.",
      ],
      methods: methodsOf(model, "filter"),
    });
    file.addInterface({
      isExported: true,
      name: "PluginMethods",
      typeParameters: ["C", "H"],
      docs: [
        "The methods of a plugin in TypeScript. `C` is the type of its parameters, `H` that of its handle.",
      ],
      methods: methodsOf(model, "plugin"),
    });
  });
}

/** Import the types of parameters other than bytes and numbers. */
function addImports(file: SourceFile): void {
  const imports = {
    BlockSize: "block-size",
    Client: "client",
    Exports: "exports",
    Extents: "extents",
  };
  for (const [name, module] of Object.entries(imports)) {
    file.addImportDeclaration({
      isTypeOnly: true,
      namedImports: [name],
      moduleSpecifier: `../../lib/${module}.ts`,
    });
  }
}

function addTypes(file: SourceFile, model: Model): void {
  const words = (table: string) =>
    tableOf(model, table)
      .map(([key]) => `"${key}"`)
      .join(" | ");
  file.addTypeAliases([
    {
      isExported: true,
      name: "Awaitable",
      typeParameters: ["T"],
      type: "T | Promise<T>",
      docs: ["The answer of a method, now or later."],
    },
    {
      isExported: true,
      name: "Support",
      type: words("supports"),
      docs: ["NBDKIT_*_NONE, NBDKIT_*_EMULATE and NBDKIT_*_NATIVE."],
    },
    {
      isExported: true,
      name: "ThreadModel",
      type: words("threadModels"),
      docs: ["NBDKIT_THREAD_MODEL_*."],
    },
  ]);
}

/** NextConfig, NextOpen and the like: functions of the layer below, outside of requests. */
function addNextFunctions(file: SourceFile, model: Model): void {
  for (const [name, meaning] of Object.entries(callbacks)) {
    if (meaning.next === undefined) continue;
    const lacks = meaning.nextLacks?.map(camelCase) ?? [];
    const list = [...valuesOf(signatureOf(model, name)), ...(meaning.extra?.next ?? [])].filter(
      ([parameter]) => !lacks.includes(parameter),
    );
    const text = list.map(([parameter, type]) => `${parameter}: ${type}`).join(", ");
    file.addTypeAlias({
      isExported: true,
      name: meaning.next,
      type: `(${text}) => ${returnType(meaning.returns, "next")}`,
      docs: [`The function by which a filter's ${camelCase(name)} calls that of the layer below.`],
    });
  }
}

function methodsOf(model: Model, place: Place): OptionalKind<MethodSignatureStructure>[] {
  return Object.entries(callbacks)
    .filter(([, meaning]) => meaning.offered.includes(place))
    .map(([name, meaning]) => ({
      name: camelCase(name),
      hasQuestionToken: place === "filter" || (place === "plugin" && meaning.required !== true),
      parameters: parametersOf(model, name, meaning, place).map(([parameter, type]) => ({
        name: parameter,
        type,
      })),
      returnType: returnType(returnsOf(meaning, place), place),
      docs: [documentation(model, name, meaning, place)],
    }));
}

function returnsOf(meaning: CallbackMeaning, place: Place): Returns {
  return place === "plugin" ? (meaning.pluginReturns ?? meaning.returns) : meaning.returns;
}

function returnType(returns: Returns, place: Place): string {
  switch (returns) {
    case "nothing":
    case "ok":
      return "Awaitable<void>";
    case "bool":
      return "Awaitable<boolean>";
    case "support":
      return "Awaitable<Support>";
    case "thread-model":
      return "ThreadModel";
    case "size":
      return "Awaitable<bigint>";
    case "block-size":
      return "Awaitable<BlockSize>";
    case "handle":
      return place === "next" ? "Awaitable<void>" : "Awaitable<H>";
    case "string":
      return "Awaitable<string | undefined>";
    default:
      return returns satisfies never;
  }
}

type Named = readonly [name: string, type: string];

function parametersOf(model: Model, name: string, meaning: CallbackMeaning, place: Place): Named[] {
  const callback = signatureOf(model, name);
  const values = [...valuesOf(callback), ...(meaning.extra?.[place] ?? [])];
  if (place === "next" || meaning.scope === "module") return values;
  const subject: Named = meaning.scope === "config" ? ["config", "C"] : ["handle", "H"];
  const asksNext =
    meaning.offered.includes("next") ||
    callback.signature.parameters.some(({ name: parameter }) => /^next(_ops)?$/.test(parameter));
  const next = meaning.next ?? (asksNext ? "NextOps" : undefined);
  const first: Named[] = place === "filter" && next !== undefined ? [["next", next]] : [];
  return [...first, subject, ...values];
}

/** The parameters in TypeScript. They do not include the lengths of buffers. */
function valuesOf({ signature }: Callback): Named[] {
  const names = signature.parameters.map(({ name }) => name);
  const lengths = new Set(names.map((name) => parameters[name]?.length));
  return names.flatMap((name) => {
    const type = parameters[name]?.type;
    return type === undefined || lengths.has(name) ? [] : [[camelCase(name), type] as const];
  });
}

/** The form of a callback that TypeScript has: that of plugins, or else that of the newest filters. */
function signatureOf(model: Model, name: string): Callback {
  const found = [...prototypes(model, "filter", name), ...prototypes(model, "plugin", name)].at(-1);
  if (found === undefined) throw new Error(`no struct has ${name}`);
  return found.callback;
}

interface Prototype {
  readonly callback: Callback;
  readonly header: string;
  readonly release?: string;
}

function prototypes(model: Model, place: Place, name: string): Prototype[] {
  const find = (struct: Struct): Callback[] =>
    callbacksOf(struct).filter((callback) => callback.name === name);
  if (place === "plugin") {
    const found = find(structOf(model.plugin, "nbdkit_plugin"));
    return found.map((callback) => ({ callback, header: headers.plugin }));
  }
  const struct = place === "filter" ? "nbdkit_filter" : "nbdkit_next_ops";
  return model.releases.flatMap(({ id, unit }) =>
    find(structOf(unit, struct)).map((callback) => ({
      callback,
      header: headers.filter,
      release: id,
    })),
  );
}

function documentation(
  model: Model,
  name: string,
  meaning: CallbackMeaning,
  place: Place,
): OptionalKind<JSDocStructure> {
  const byText = Map.groupBy(prototypes(model, place, name), ({ callback }) => callback.text);
  const lines = [...byText].map(([text, found]) => {
    const ids = found.flatMap(({ release }) => release ?? []);
    const which = ids.length === 0 ? "" : `, layout ${ids.join(", ")}`;
    return `C: \`${text}\` (${found[0]?.header}${which})`;
  });
  if (lines.length === 0)
    lines.push("C: not in the layouts that include/nbdkit-filter.h describes.");
  const sentinel = failure(returnsOf(meaning, place));
  const fails = sentinel === undefined ? "" : `\nOn failure it throws; in C that is ${sentinel}.`;
  const manual = `nbdkit-${place === "next" ? "filter" : place}(3), ".${name}".`;
  return { description: `\n${meaning.about}${fails} ${manual}\n\n${lines.join("\n")}` };
}
