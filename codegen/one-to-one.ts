/** Checks that the headers and the tables have the same names, and lists those that only one side has. */
import { flags, numbers, onlyInC, tables } from "./constants.ts";
import { functions } from "./functions.ts";
import {
  type Callback,
  callbacksOf,
  type CType,
  type FunctionDeclaration,
  type Location,
  SourceError,
  type Struct,
  structOf,
  unionOf,
} from "./ir.ts";
import { exportedFunctions, type Model } from "./model.ts";
import { releasePrefix } from "./names.ts";
import {
  type CallbackMeaning,
  callbacks,
  data,
  flagMacro,
  messages,
  nextFunctions,
  parameters,
  type Place,
  type Returns,
} from "./semantics.ts";

type Found = ReadonlyMap<string, Location>;

/** Throw unless a table has the same names as the headers, `found`. */
function assertOneToOne(table: string, found: Found, described: Iterable<string>): void {
  const names = new Set(described);
  const missing = [...found].filter(([name]) => !names.has(name));
  const extra = [...names].filter((name) => !found.has(name));
  if (missing.length + extra.length === 0) return;
  const lines = [
    ...missing.map(
      ([name, at]) => `${at.file}:${at.line}:${at.column}: ${name} is not in ${table}`,
    ),
    ...extra.map((name) => `${table}: ${name} is not in the headers`),
  ];
  throw new Error(`${lines.join("\n")}\ndescribe what is new, and remove what is gone`);
}

/** The structs of the model, each with its place in the tables. */
export function structsOf(model: Model): (readonly [Place, Struct])[] {
  return [
    ...model.releases.flatMap(({ unit }): (readonly [Place, Struct])[] => [
      ["filter", structOf(unit, "nbdkit_filter")],
      ["next", structOf(unit, "nbdkit_next_ops")],
    ]),
    ["plugin", structOf(model.plugin, "nbdkit_plugin")],
  ];
}

/** Check the whole model against the tables. */
export function assertDescribed(model: Model): void {
  const inCallbacks = new Map<string, Location>();
  const inData = new Map<string, Location>();
  const inParameters = new Map<string, Location>();
  for (const [place, struct] of structsOf(model)) {
    const called = new Map(callbacksOf(struct).map((callback) => [callback.name, callback]));
    for (const field of struct.fields) {
      const callback = called.get(field.name);
      (callback === undefined ? inData : inCallbacks).set(`${place}.${field.name}`, field.at);
      if (callback === undefined) continue;
      for (const { name, at } of callback.signature.parameters) inParameters.set(name, at);
      assertMeaning(callback, place);
      assertCarried(callback, model);
    }
  }
  assertOneToOne("callbacks of codegen/semantics.ts", inCallbacks, placed(callbacks));
  assertOneToOne("data of codegen/semantics.ts", inData, placed(data));
  assertOneToOne("parameters of codegen/semantics.ts", inParameters, Object.keys(parameters));
  assertReferences(model);
  assertFunctions(model);
  assertMacros(model);
}

/** Check that the callbacks and flags that rows name exist. */
function assertReferences(model: Model): void {
  const macros = new Set(model.macros.map(({ name }) => name));
  for (const [name, row] of Object.entries(callbacks)) {
    const { askedIf = [], defaultWith, olderFilter, replacedBy, flags: possible = [] } = row;
    const single = [defaultWith?.has, olderFilter?.needs, replacedBy];
    const named = [...single, ...(olderFilter?.has ?? []), ...askedIf];
    const unknown = [
      ...named.filter((other) => other !== undefined && callbacks[other] === undefined),
      ...possible.map(flagMacro).filter((macro) => !macros.has(macro)),
    ];
    if (unknown.length > 0) {
      throw new Error(
        `codegen/semantics.ts: ${name} names ${unknown.join(", ")}, which is unknown`,
      );
    }
  }
}

/** Check that the C types fit the meaning in the tables. */
function assertMeaning(callback: Callback, place: Place): void {
  const { returns, parameters: list } = callback.signature;
  const meaning = callbacks[callback.name];
  if (meaning === undefined) return; // assertOneToOne lists it.
  const meant = (place === "plugin" ? meaning.pluginReturns : undefined) ?? meaning.returns;
  if (cReturns[meant] !== wordOf(returns)) {
    const problem = `${callback.name} returns ${wordOf(returns)}, which cannot mean "${meant}"`;
    throw new SourceError(callback.at, problem, `"${meant}" is ${cReturns[meant]}: ${remedy}`);
  }
  for (const { name, type, at } of list) {
    const role = parameters[name]?.role;
    const wanted = role?.kind === "number" || role?.kind === "flag" ? "integer" : "pointer";
    if (role !== undefined && type.kind !== wanted) {
      throw new SourceError(at, `${name} is ${wordOf(type)}, expected ${wanted}`, remedy);
    }
    const length = parameters[name]?.length;
    if (length !== undefined && !list.some((other) => other.name === length)) {
      throw new SourceError(at, `${name} comes without its length, ${length}`, remedy);
    }
  }
}

/** Check that messages have a field for each parameter of the callback. */
function assertCarried({ name, signature }: Callback, { runtime }: Model): void {
  const member = messages.get(name);
  const carrier = unionOf(runtime, "rt_arguments").fields.find((field) => field.name === member);
  const own = carrier?.type.kind === "struct" ? carrier.type.name : undefined;
  const carriers = { layer: "rt_downcall", number: own, pointer: own, out: "rt_result" };
  for (const parameter of signature.parameters) {
    const role = parameters[parameter.name]?.role;
    if (role === undefined || !("field" in role)) continue;
    const struct = carriers[role.kind];
    const fields = struct === undefined ? [] : structOf(runtime, struct).fields;
    if (fields.some((field) => field.name === role.field)) continue;
    const has = fields.map((field) => field.name).join(", ");
    throw new SourceError(
      parameter.at,
      `codegen/semantics.ts says that ${role.field} of struct ${struct} carries ${parameter.name}`,
      struct === undefined ? `give ${name} a struct in messages` : `the struct has ${has}`,
    );
  }
}

const remedy = "change the header or codegen/semantics.ts";

/** The C type of each meaning, as wordOf writes it. */
const cReturns: Readonly<Record<Returns, string>> = {
  nothing: "void",
  ok: "int",
  bool: "int",
  support: "int",
  "thread-model": "int",
  size: "int64_t",
  handle: "void *",
  string: "char *",
  "block-size": "int",
};

function wordOf(type: CType): string {
  switch (type.kind) {
    case "integer":
    case "named":
    case "struct":
    case "union":
      return type.name;
    case "pointer":
      return `${wordOf(type.to)} *`;
    default:
      return type.kind;
  }
}

/** `filter.pread` and the like, for every struct that a row names. */
function placed(table: Readonly<Record<string, Pick<CallbackMeaning, "in">>>): string[] {
  return Object.entries(table).flatMap(([name, meaning]) =>
    meaning.in.map((place) => `${place}.${name}`),
  );
}

function whereDeclared(declarations: Iterable<FunctionDeclaration>): Found {
  return new Map([...declarations].map(({ name, at }) => [name, at]));
}

function assertFunctions(model: Model): void {
  const types = model.releases.flatMap(({ unit }) => [...unit.functionTypes.values()]);

  assertOneToOne(
    "nextFunctions of codegen/semantics.ts",
    whereDeclared(types),
    Object.keys(nextFunctions),
  );
  assertOneToOne(
    "functions of codegen/functions.ts",
    whereDeclared(exportedFunctions(model)),
    Object.keys(functions),
  );
}

function assertMacros(model: Model): void {
  const prefixes = [releasePrefix, ...tables.flatMap((table) => table.prefixes)];
  const single = model.macros.filter(
    ({ name }) => !prefixes.some((prefix) => name.startsWith(prefix)),
  );
  assertOneToOne(
    "codegen/constants.ts",
    new Map(single.map(({ name, at }) => [name, at])),
    [flags, numbers, onlyInC].flatMap((table) => Object.keys(table)),
  );
}
