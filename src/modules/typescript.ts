/** Makes layers of filters and plugins in TypeScript: the adapters of `defineFilter` and `definePlugin`. */
import { plugin as pluginStruct } from "#abi/generated/layouts.gen";

import { after } from "../api/awaitable.ts";
import type { NextOps } from "../api/generated/methods.gen.ts";
import { findParam, helpOf, type Params } from "../api/params.ts";
import { oddAnswer } from "../chain/answers.ts";
import type { Draft, Layer, LayerContext, Visit } from "../chain/layer.ts";
import { lifeCycleMethods, methods, rowOf } from "../chain/methods.ts";
import { ConfigError } from "../lib/errors.ts";
import { speakAs } from "../lib/speaker.ts";
import { type AnyFilter, type AnyPlugin, checkedDefinition } from "./definition.ts";

type Config = Record<string, unknown>;

/**
 * Wrap the filter or plugin that the file at `path` exports. Throws ConfigError if the export is neither. `version` is
 * the default of the definition's own.
 */
export function typescriptLayer(
  kind: "filter" | "plugin",
  exported: unknown,
  path: string,
  version?: string,
): Layer {
  const found = checkedDefinition(kind, exported, path);
  const definition = version === undefined ? found : { version, ...found };
  const values = initialValues(definition.params ?? {});
  const draft = isPlugin(definition)
    ? pluginLayer(definition, path, values)
    : filterLayer(definition, path, values);
  // The cast is correct by `checkedDefinition`. Bun loads a file once, so all layers of it share this object.
  draft.parameters = { module: exported as object, values };
  for (const method of rare) nameCalls(draft, method);
  return draft;
}

/** Methods that are not called for each request: the layer is recorded, so that `debug` and `error` can name it. */
const rare = [...lifeCycleMethods, "prepare", "finalize"] as const;

function nameCalls(draft: Draft, method: (typeof rare)[number]): void {
  const members: Readonly<Record<string, unknown>> = { ...draft };
  const call = members[method] as ((...args: unknown[]) => unknown) | undefined;
  if (call === undefined) return;
  // Object.assign, since the compiler cannot relate the name to the type of its method in a loop.
  Object.assign(draft, { [method]: (...args: unknown[]) => speakAs(draft.name, call, ...args) });
}

function isPlugin(it: AnyFilter | AnyPlugin): it is AnyPlugin {
  return it.kind === "plugin";
}

/** The parameters' values before any is given. */
function initialValues(params: Params): Config {
  const config: Config = {};
  for (const [key, { initial }] of Object.entries(params)) config[key] = initial;
  return config;
}

/** Store `key=value` if the key is in the table. Returns whether it is. */
function take(params: Params, config: Config, name: string, key: string, value: string): boolean {
  const known = findParam(params, key);
  const entry = known === undefined ? undefined : params[known];
  if (known === undefined || entry === undefined) return false;
  try {
    config[known] = entry.parse(value, key, config[known]);
  } catch (error) {
    if (error instanceof ConfigError)
      throw new ConfigError(`${name}: ${error.message}`, { cause: error });
    throw error;
  }
  return true;
}

function checkRequired(params: Params, config: Config, name: string): void {
  for (const [key, { required }] of Object.entries(params)) {
    if (required && config[key] === undefined) {
      throw new ConfigError(`${name}: the parameter ${key}= is required`);
    }
  }
}

function described(it: AnyFilter | AnyPlugin, path: string): Draft {
  const draft: Draft = {
    kind: it.kind ?? "filter",
    name: it.name,
    path,
    longName: it.longName,
    version: it.version,
    description: it.description,
    configHelp: helpOf(it.params ?? {}, isPlugin(it) ? it.magicConfigKey : undefined),
    keys: Object.entries(it.params ?? {}).flatMap(([key, { aliases }]) => [key, ...aliases]),
    inTypeScript: true,
    dumpFields: [],
  };
  return draft;
}

type Pread = NonNullable<Draft["pread"]>;

/** Clear the buffer first, so that bytes which a module does not fill are zeroes rather than another client's data. */
function filled({ fillsReads }: AnyFilter | AnyPlugin, pread: Pread): Pread {
  if (fillsReads === true) return pread;
  return (context, buf, offset, flags) => {
    buf.fill(0);
    return pread(context, buf, offset, flags);
  };
}

/** The cast is correct, since a filter always has a layer below. */
function nextOf(context: LayerContext): NextOps {
  return context.next as LayerContext;
}

function filterLayer(it: AnyFilter, path: string, config: Config): Draft {
  const params = it.params ?? {};
  const draft = described(it, path);
  draft.config = (next, key, value) => {
    if (take(params, config, it.name, key, value)) return undefined;
    return it.config === undefined ? next(key, value) : it.config(next, config, key, value);
  };
  draft.configComplete = (next) => {
    checkRequired(params, config, it.name);
    return it.configComplete === undefined ? next() : it.configComplete(next, config);
  };
  draft.open = ({ connection }, next, readonly, exportName, isTls) =>
    it.open === undefined
      ? after(next(readonly, exportName), () => config)
      : it.open((ro, name) => next(ro, name), config, readonly, exportName, isTls, connection);
  const { pread, pwrite } = it;
  if (pread) {
    draft.pread = filled(it, (context, buf, offset, flags) =>
      pread.call(it, nextOf(context), context.handle, buf, offset, flags),
    );
  }
  if (pwrite) {
    draft.pwrite = (context, buf, offset, flags) =>
      pwrite.call(it, nextOf(context), context.handle, buf, offset, flags);
  }
  const { window } = it;
  if (window) draft.window = (context) => window.call(it, context.handle);
  addMethods(draft, it, config, (context) => [nextOf(context), context.handle]);
  return draft;
}

function pluginLayer(it: AnyPlugin, path: string, config: Config): Draft {
  const params = it.params ?? {};
  const draft = described(it, path);
  draft.magicConfigKey = it.magicConfigKey;
  draft.dumpFields = pluginFields(it);
  draft.config = (_next, key, value) => {
    if (take(params, config, it.name, key, value)) return undefined;
    if (it.config !== undefined) return it.config(config, key, value);
    const known = Object.keys(params);
    const accepts = known.length > 0 ? `expected one of ${known.join(", ")}` : "it takes none";
    throw new ConfigError(`${it.name}: unknown parameter ${key}=${value}: ${accepts}`);
  };
  draft.configComplete = () => {
    checkRequired(params, config, it.name);
    return it.configComplete?.(config);
  };
  draft.open = ({ connection }, _next, readonly, exportName, isTls) =>
    it.open(config, readonly, exportName, isTls, connection);
  if (it.descriptor) draft.descriptor = (context) => it.descriptor?.(context.handle);
  if (it.extentsAnswerReads === true) draft.extentsAnswerReads = true;
  const { pread, pwrite } = it;
  draft.pread = filled(it, (context, buf, offset, flags) =>
    pread.call(it, context.handle, buf, offset, flags),
  );
  if (pwrite) {
    draft.pwrite = (context, buf, offset, flags) =>
      pwrite.call(it, context.handle, buf, offset, flags);
  }
  addMethods(draft, it, config, (context) => [context.handle]);
  if (it.canZero) {
    draft.canZero = (context) =>
      after(it.canZero?.(context.handle), (can) => {
        if (typeof can !== "boolean") throw oddAnswer(draft, "can_zero", can, "true or false");
        return can ? "native" : "emulate";
      });
  }
  return draft;
}

type Method = (...values: unknown[]) => unknown;

/** Add the methods that have no wrapper of their own yet. */
function addMethods(
  draft: Draft,
  it: AnyFilter | AnyPlugin,
  config: Config,
  receivers: (context: LayerContext) => readonly unknown[],
): void {
  const known = it as unknown as Readonly<Record<string, Method | undefined>>;
  for (const name of methods) {
    const method = known[name];
    if (method === undefined || name in draft || !rowOf(name)[draft.kind]) continue;
    // Object.assign, since the compiler cannot relate the name to the type of its method in a loop.
    Object.assign(draft, { [name]: adapted(name, it, method, config, receivers) });
  }
}

/** The method in the form that layers have. */
function adapted(
  name: (typeof methods)[number],
  it: AnyFilter | AnyPlugin,
  method: Method,
  config: Config,
  receivers: (context: LayerContext) => readonly unknown[],
): Method {
  const { scope, nextIs } = rowOf(name);
  if (scope === "module") return method.bind(it);
  if (scope === "connection") {
    if (name === "close") return (context) => method.call(it, (context as LayerContext).handle);
    return (context, ...values) =>
      method.call(it, ...receivers(context as LayerContext), ...values);
  }
  if (nextIs !== undefined) {
    return (next, ...values) => {
      const { connection } = values.pop() as Visit;
      return method.call(it, ...(isPlugin(it) ? [] : [next]), config, ...values, connection);
    };
  }
  // Of the other methods, only a filter's getReady has an argument besides `config`.
  if (name === "getReady" && !isPlugin(it)) return (model) => method.call(it, config, model);
  return () => method.call(it, config);
}

/**
 * The lines of --dump-plugin for a plugin in TypeScript. The interface is that of API 2 with all its fields. Errors
 * always carry their number, and only `threadModel` limits parallel requests.
 */
function pluginFields(it: AnyPlugin): (readonly [string, string])[] {
  const params = Object.values(it.params ?? {});
  const has = {
    longname: it.longName !== undefined,
    description: it.description !== undefined,
    config: params.length > 0 || it.config !== undefined,
    config_complete: params.some(({ required }) => required) || it.configComplete !== undefined,
    config_help: params.length > 0,
  };
  const members: Readonly<Record<string, unknown>> = { ...it };
  const callbacks = methods
    .filter((name) => typeof members[name] === "function")
    .map((name) => [rowOf(name).cName, true] as const);
  return [
    ["api_version", "2"],
    ["struct_size", String(pluginStruct.size)],
    ["max_thread_model", "parallel"],
    ["thread_model", "parallel"],
    ["errno_is_preserved", "1"],
    ...(it.magicConfigKey === undefined ? [] : [["magic_config_key", it.magicConfigKey] as const]),
    ...[...callbacks, ...Object.entries(has)]
      .filter(([, there]) => there)
      .map(([name]) => [`has_${name}`, "1"] as const),
  ];
}
