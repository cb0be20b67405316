/** Loads a C filter or plugin, recognises its layout, and makes a layer of it: nbdkit-filter(3), nbdkit-plugin(3). */
import { type Pointer, toArrayBuffer } from "bun:ffi";

import { ConfigError } from "#api";
import type { Layer } from "#chain/layer";
import type { DebugFlags } from "#lib/debug-flags";
import { log } from "#lib/log";
import { cString } from "#sys/text";

import { Bridge } from "../bridge/bridge.ts";
import { releases } from "../generated/releases.gen.ts";
import {
  checkStruct,
  type ModuleStruct,
  readFilter,
  readPlugin,
  unknownReleaseWords,
} from "../recognise/module-struct.ts";
import { type ModuleKind, type OpenedModule, openModule } from "../recognise/open-module.ts";
import type { ChosenLayout } from "../recognise/releases.ts";
import type { Native } from "../runtime/native-runtime.ts";
import { nativeFilter } from "./filter.ts";
import type { NativeModule } from "./loaded-module.ts";
import { nativePlugin } from "./plugin.ts";

export interface NativeOptions {
  /** The filter's layout, if the user names it. */
  readonly release?: ChosenLayout | undefined;
  readonly debugFlags?: DebugFlags | undefined;
  /** The most native threads that one connection may hold. */
  readonly threads: number;
}

let bridge: Bridge | undefined;

/** Load the shared object at `path` as a module of this kind. Throws ConfigError. */
export function loadNativeLayer(kind: ModuleKind, path: string, options: NativeOptions): Layer {
  bridge ??= new Bridge();
  const { native } = bridge;
  const opened = openModule(native, path, kind, bridge.loadingSlot());
  const struct = kind === "filter" ? readFilter(opened, options.release) : readPlugin(opened);
  if (struct.unknownRelease !== undefined) log.warning(unknownReleaseWords(struct));
  checkStruct(struct);
  options.debugFlags?.apply(struct.text("name") ?? "", (variable, value) =>
    setVariable(native, opened, variable, value),
  );
  const module = register(bridge, struct, options.threads);
  announce(native, opened, struct, module.module);
  return struct.release === undefined ? nativePlugin(module) : nativeFilter(module, struct.release);
}

/** The release of a plugin: functions of the runtime differ only for old filters. */
const plugins = 0xffffffff;

/** Register the module with the runtime: some functions differ by layout, and the crash handler prints the name. */
function announce(
  native: Native,
  { base }: OpenedModule,
  { kind, path, release, text }: ModuleStruct,
  module: number,
): void {
  const at = base as Pointer;
  native.rt_module_loaded(at, release === undefined ? plugins : releases[release].number);
  native.rt_module_describe(module, at, cString(`${kind} ${text("name")} (${path})`));
}

/** Set a debug flag of the module. Returns whether the module has the variable. */
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

/** The copies of structs. They are never freed, since C may call into a module until the process ends. */
const kept: Uint8Array[] = [];

const parallel = 3;

function register(of: Bridge, struct: ModuleStruct, threads: number): NativeModule {
  const { path, adapter, bytes, apiVersion, structSize } = struct;
  kept.push(bytes);
  const module = of.native.rt_module_add(adapter, bytes);
  if (module < 0) throw new ConfigError(`${path}: too many C modules are loaded`);
  return {
    bridge: of,
    path,
    module,
    threads,
    apiVersion,
    structSize,
    threadModel: struct.threadModel ?? parallel,
    has: struct.has,
    text: struct.text,
    integer: struct.integer,
  };
}
