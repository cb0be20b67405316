/** Finds the properties of a C module without running it: `nbdkit --inspect`. */
import { readFileSync } from "node:fs";

import { ConfigError } from "#api";
import { threadModels } from "#api/generated/constants.gen";
import { filePath } from "#lib/text-bytes";
import { messageOf } from "#lib/thrown";

import { type Native, openRuntime } from "../runtime/native-runtime.ts";
import { type ElfFile, readElf } from "./elf.ts";
import { recogniseFilter } from "./layout.ts";
import {
  checkStruct,
  type ModuleStruct,
  readFilter,
  readPlugin,
  unknownReleaseWords,
} from "./module-struct.ts";
import {
  filterHead,
  kindOf,
  type ModuleKind,
  type OpenedModule,
  openModule,
} from "./open-module.ts";
import { type ChosenLayout, releasesOf } from "./releases.ts";

/** The properties of a module. Unknown ones are absent. Names and order are those of the JSON output. */
export interface Inspection {
  readonly path: string;
  kind?: ModuleKind;
  name?: string;
  longname?: string;
  version?: string;
  description?: string;
  /** The layout of a filter's struct, by the first release that has it. */
  layout?: string;
  /** The releases of nbdkit that have this layout. */
  releases?: string;
  api_version?: number;
  struct_size?: number;
  thread_model?: string;
  magic_config_key?: string;
  config_help?: string;
  /** Its callbacks, by the names of the struct's fields. */
  callbacks?: readonly string[];
  /** The functions of the server that it calls. */
  imports?: readonly string[];
  /** The functions among these that this server lacks. */
  missing?: readonly string[];
  /** The flags that -D can set. */
  debug_flags?: readonly string[];
  /** Shared libraries that it needs. */
  libraries?: readonly string[];
  machine?: string;
  /** A possible problem of a module that can be run. */
  warning?: string;
  /** Whether this server can run it. */
  runnable: boolean;
  /** Why the server cannot run it. */
  reason?: string;
}

/** A faulty file makes the module not runnable, with a reason. It does not throw. */
export function inspectModule(path: string, wanted: ChosenLayout | undefined): Inspection {
  const result: Inspection = { path, runnable: false };
  try {
    addFile(result, readFile(path));
    const native = openRuntime();
    addMissing(result, native);
    const opened = openModule(native, path, result.kind);
    addStruct(result, opened, wanted);
    result.runnable = true;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { message } = error;
    result.reason = message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
  }
  return result;
}

function readFile(path: string): ElfFile {
  let bytes;
  try {
    bytes = readFileSync(filePath(path));
  } catch (error) {
    throw new ConfigError(`the file cannot be read: ${messageOf(error)}`, { cause: error });
  }
  return readElf(bytes);
}

const machine = process.arch === "arm64" ? "aarch64" : "x86_64";

/** Add the properties that are known without loading the file. */
function addFile(result: Inspection, file: ElfFile): void {
  result.machine = file.machine;
  if (file.machine !== machine || file.bits !== 64) {
    throw new ConfigError(`it is for ${file.machine} (${file.bits} bits), and this is ${machine}`);
  }
  const symbols = file.dynamicSymbols;
  result.imports = namesOf(symbols.filter((it) => !it.defined && it.name.startsWith("nbdkit_")));
  result.libraries = file.needed;
  const variables = symbols.filter(({ defined, kind }) => defined && kind === "object");
  result.debug_flags = namesOf(variables).flatMap((name) => {
    const [, module, flag] = /^([A-Za-z0-9]\w*?)_debug_(\w+)$/.exec(name) ?? [];
    return module === undefined ? [] : [`${module}.${flag}`];
  });
  if (!file.isShared) throw new ConfigError("not a shared object");
  result.kind = kindOf(result.path, undefined, (name) =>
    symbols.some((it) => it.defined && it.name === name),
  );
}

function namesOf(symbols: readonly { readonly name: string }[]): string[] {
  return [...new Set(symbols.map(({ name }) => name))].toSorted();
}

function addMissing(result: Inspection, native: Native): void {
  // The handle NULL is RTLD_DEFAULT, which searches all loaded files.
  const missing = (result.imports ?? []).filter((name) => native.rt_dlsym(null, name) === null);
  if (missing.length > 0) result.missing = missing;
}

function addStruct(
  result: Inspection,
  opened: OpenedModule,
  wanted: ChosenLayout | undefined,
): void {
  if (opened.kind === "filter") {
    const { id, apiVersion } = recogniseFilter(opened.path, filterHead(opened), wanted);
    result.layout = id;
    result.releases = releasesOf(id);
    result.api_version = apiVersion;
  }
  const struct = opened.kind === "filter" ? readFilter(opened, wanted) : readPlugin(opened);
  if (struct.unknownRelease !== undefined) {
    result.warning = unknownReleaseWords(struct).slice(opened.path.length + 2);
  }
  result.api_version = struct.apiVersion;
  result.struct_size = struct.structSize;
  result.callbacks = callbacksOf(struct);
  result.thread_model = threadModelOf(struct);
  for (const field of texts) {
    const text = field in struct.layout.fields ? struct.text(field) : undefined;
    if (text !== undefined) result[field === "_version" ? "version" : field] = text;
  }
  checkStruct(struct);
}

const texts = [
  "name",
  "longname",
  "_version",
  "version",
  "description",
  "magic_config_key",
  "config_help",
] as const;

function callbacksOf(struct: ModuleStruct): string[] {
  return Object.entries(struct.layout.fields)
    .filter(([name, { kind }]) => kind === "function" && struct.has(name))
    .map(([name]) => name);
}

/** The field of the struct. The callback is not called, since it may need `load` and parameters first. */
function threadModelOf(struct: ModuleStruct): string {
  const { threadModel } = struct;
  const word = Object.entries(threadModels).find(([, number]) => number === threadModel)?.[0];
  const most = threadModel === undefined ? "parallel" : (word ?? String(threadModel));
  return struct.has("thread_model") ? `${most}, or less by its thread_model callback` : most;
}
