/** Checks the export of a TypeScript module before any of its methods is called. */
import type { FilterDefinition, PluginDefinition } from "../api/define.ts";
import type { Params } from "../api/params.ts";
import { methods as known, rowOf } from "../chain/methods.ts";
import { derivedMethods } from "../chain/window.ts";
import { ConfigError } from "../lib/errors.ts";
import { nearName } from "../lib/near.ts";
import { messageOf, shown } from "../lib/thrown.ts";

export type AnyFilter = FilterDefinition<Params, unknown>;
export type AnyPlugin = PluginDefinition<Params, unknown>;
type Kind = "filter" | "plugin";

const fromTable = known.filter((method) => rowOf(method).filter || rowOf(method).plugin);
const required = fromTable.filter((method) => rowOf(method).required);
const methods = [...fromTable, "descriptor", "window"] as const;

/** Members that are not methods. */
const facts = [
  "kind",
  "name",
  "longName",
  "version",
  "description",
  "params",
  "magicConfigKey",
  "extentsAnswerReads",
  "fillsReads",
] as const;

/** Members that only one kind has. */
const only: Readonly<Record<string, Kind>> = {
  ...Object.fromEntries(
    fromTable
      .filter((method) => !rowOf(method).plugin)
      .map((method): [string, Kind] => [method, "filter"]),
  ),
  descriptor: "plugin",
  extentsAnswerReads: "plugin",
  magicConfigKey: "plugin",
  window: "filter",
};

/** The filter or plugin that the file at `path` exports. Throws ConfigError if the export is neither. */
export function checkedDefinition(
  kind: Kind,
  exported: unknown,
  path: string,
): AnyFilter | AnyPlugin {
  try {
    return checkDefinition(kind, exported, path);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    // A getter or a proxy has thrown.
    const reason = messageOf(error);
    throw new ConfigError(`${path}: the ${kind} cannot be looked at: ${reason}`, { cause: error });
  }
}

function checkDefinition(kind: Kind, exported: unknown, path: string): AnyFilter | AnyPlugin {
  const define = kind === "filter" ? "defineFilter" : "definePlugin";
  if (typeof exported !== "object" || exported === null) {
    throw new ConfigError(
      `${path}: the module has no default export: expected \`export default ${define}({...})\``,
    );
  }
  const it = exported as { kind?: unknown; name?: unknown } & Record<string, unknown>;
  const isKind = it.kind ?? kind;
  if (isKind !== kind) {
    throw new ConfigError(`${path}: this is a ${String(isKind)}, but it was given as a ${kind}`);
  }
  refuseClass(kind, exported, path);
  if (typeof it.name !== "string" || !/^[a-zA-Z0-9][a-zA-Z0-9-]*$/.test(it.name)) {
    throw new ConfigError(
      `${path}: ${kind}.name (${shown(it.name)}) must be ASCII letters, digits and '-', starting with a letter or digit`,
    );
  }
  for (const key of Object.keys(it)) refuseMisspelt(kind, key, path);
  for (const method of methods) {
    if (it[method] !== undefined && typeof it[method] !== "function") {
      const found = shown(it[method]);
      throw new ConfigError(`${path}: ${kind}.${method} is ${found}: expected a function`);
    }
  }
  for (const key of ["extentsAnswerReads", "fillsReads"]) {
    if (it[key] !== undefined && typeof it[key] !== "boolean") {
      const found = shown(it[key]);
      throw new ConfigError(`${path}: ${kind}.${key} is ${found}: expected true or false`);
    }
  }
  for (const method of it["window"] === undefined ? [] : derivedMethods) {
    if (it[method] === undefined) continue;
    throw new ConfigError(
      `${path}: ${kind}.${method}: a ${kind} that declares window cannot have this method: it follows from the window`,
    );
  }
  checkParams(kind, it["params"], path);
  if (kind === "plugin") {
    for (const method of required) {
      if (typeof it[method] !== "function") {
        throw new ConfigError(`${path}: plugin must have a ${method} method`);
      }
    }
  }
  // The cast is correct by the checks above, except for the methods' signatures, which cannot be checked at run time.
  return { ...it, kind } as unknown as AnyFilter | AnyPlugin;
}

/** The methods of a class are in its prototype, where the server does not look for them. */
function refuseClass(kind: Kind, exported: object, path: string): void {
  const prototype: unknown = Object.getPrototypeOf(exported);
  if (prototype === null || prototype === Object.prototype) return;
  const { name } = exported.constructor;
  throw new ConfigError(
    `${path}: the ${kind} is an object of the class ${name}: expected a plain object, whose methods are its own`,
  );
}

/**
 * A member whose name is nearly that of a known one is a mistake, and would have no effect. Other members are helpers
 * and constants of the author. With an underscore in front they may look like known ones.
 */
function refuseMisspelt(kind: Kind, key: string, path: string): void {
  const owner = Object.hasOwn(only, key) ? only[key] : kind;
  if (owner !== kind) {
    throw new ConfigError(`${path}: ${kind}.${key}: only a ${owner} has this member`);
  }
  const names: readonly string[] = [...methods, ...facts].filter(
    (name) => !Object.hasOwn(only, name) || only[name] === kind,
  );
  if (key.startsWith("_") || names.includes(key)) return;
  if (/^config_?help$/i.test(key)) {
    throw new ConfigError(
      `${path}: ${kind}.${key}: expected the help of each parameter in \`params\``,
    );
  }
  const near = nearName(key, names);
  if (near === undefined) return;
  throw new ConfigError(
    `${path}: ${kind}.${key}: there is no such member: did you mean ${near}? ` +
      "(A helper of your own may be called so with an underscore in front.)",
  );
}

function checkParams(kind: Kind, params: unknown, path: string): void {
  if (params === undefined) return;
  if (typeof params !== "object" || params === null) {
    throw new ConfigError(`${path}: ${kind}.params is ${shown(params)}: expected an object`);
  }
  for (const [key, entry] of Object.entries(params)) {
    if (!/^[A-Za-z][A-Za-z0-9._-]*$/.test(key)) {
      throw new ConfigError(
        `${path}: ${kind}.params: ${shown(key)} cannot be the key of a parameter: expected letters, digits, '.', '_' and '-', starting with a letter`,
      );
    }
    if (typeof (entry as { parse?: unknown } | null)?.parse !== "function") {
      throw new ConfigError(
        `${path}: ${kind}.params.${key} is ${shown(entry)}: expected what a function of \`param\` returns, such as param.string({...})`,
      );
    }
  }
}
