/**
 * Loads a genuine filter or plugin, finds out what it is, and makes a layer of it:
 * nbdkit-filter(3), nbdkit-plugin(3).
 */
import { type Pointer, toArrayBuffer } from "bun:ffi";

import { ConfigError } from "#api";
import type { Layer } from "#chain/layer";
import type { DebugFlags } from "#lib/debug-flags";
import { log } from "#lib/log";
import { cString } from "#sys/text";

import { Bridge } from "../bridge/bridge.ts";
import { generations } from "../generated/generations.gen.ts";
import type { GenerationId } from "../recognise/generation-ids.ts";
import {
  checkStruct,
  type ModuleStruct,
  readFilter,
  readPlugin,
  unknownReleaseWords,
} from "../recognise/module-struct.ts";
import { type ModuleKind, type OpenedModule, openModule } from "../recognise/open-module.ts";
import type { Native } from "../runtime/native-runtime.ts";
import { nativeFilter } from "./filter.ts";
import type { NativeModule } from "./loaded-module.ts";
import { nativePlugin } from "./plugin.ts";

export interface NativeOptions {
  /** What the user says the filter's generation is, where it cannot be told. */
  readonly generation?: GenerationId | undefined;
  readonly debugFlags?: DebugFlags | undefined;
  /** The most native threads that one connection may hold. */
  readonly threads: number;
}

let bridge: Bridge | undefined;

/** Load the shared object at `path` as the kind of module that was asked for. Throws ConfigError. */
export function loadNativeLayer(kind: ModuleKind, path: string, options: NativeOptions): Layer {
  bridge ??= new Bridge();
  const { native } = bridge;
  const opened = openModule(native, path, kind, bridge.loadingSlot());
  const struct = kind === "filter" ? readFilter(opened, options.generation) : readPlugin(opened);
  if (struct.generation === "either") warnOfEither(path);
  if (struct.unknownRelease !== undefined) log.warning(unknownReleaseWords(struct));
  checkStruct(struct);
  options.debugFlags?.apply(struct.text("name") ?? "", (variable, value) =>
    setVariable(native, opened, variable, value),
  );
  const module = register(bridge, struct, options.threads);
  announce(native, opened, struct, module.module);
  return struct.generation === undefined
    ? nativePlugin(module)
    : nativeFilter(module, struct.generation);
}

/** Functions differ for old filters only. */
const plugins = 0xffffffff;

/** Tell the runtime who will call it: some functions differ by the generation, and a crash is told with a name. */
function announce(
  native: Native,
  { base }: OpenedModule,
  { kind, path, generation, text }: ModuleStruct,
  module: number,
): void {
  const at = base as Pointer;
  const id = generation === "either" ? "A" : generation;
  native.rt_module_loaded(at, id === undefined ? plugins : generations[id].number);
  native.rt_module_describe(module, at, cString(`${kind} ${text("name")} (${path})`));
}

/** False where the module has no such variable. */
function setVariable(
  native: Native,
  { library }: OpenedModule,
  variable: string,
  value: number,
): boolean {
  const address = native.rt_dlsym(library, variable);
  if (address === null) return false;
  new Int32Array(toArrayBuffer(address as Pointer, 0, 4))[0] = value;
  return true;
}

function warnOfEither(path: string): void {
  if (process.arch !== "x64") {
    throw new ConfigError(
      `${path}: it cannot be told whether this filter's open takes (readonly) or (next, nxdata, readonly): ` +
        "say --filter-generation=FILTER=S for the first or FILTER=A for the second",
    );
  }
  log.error(
    `${path}: it cannot be told yet whether this filter is of generation S or A: ` +
      "serving one connection at a time until it is opened; --filter-generation=FILTER=S or FILTER=A avoids that",
  );
}

/** Copies stay as long as C may call into the module: for ever. */
const kept: Uint8Array[] = [];

const parallel = 3;

function register(of: Bridge, struct: ModuleStruct, threads: number): NativeModule {
  const { path, adapter, bytes, generation, apiVersion, structSize } = struct;
  kept.push(bytes);
  const module = of.native.rt_module_add(adapter, bytes);
  if (module < 0) throw new ConfigError(`${path}: too many C modules are loaded`);
  return {
    bridge: of,
    path,
    module,
    threads,
    generation,
    apiVersion,
    structSize,
    threadModel: struct.threadModel ?? parallel,
    has: struct.has,
    text: struct.text,
    integer: struct.integer,
  };
}
