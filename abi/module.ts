/** Loads a genuine filter or plugin, finds out what it is, and makes a layer of it: nbdkit-filter(3), nbdkit-plugin(3). */
import { CString, type Pointer, read, toArrayBuffer } from "bun:ffi";

import { ConfigError } from "#api";
import type { Layer } from "#chain/layer";
import { log } from "#lib/log";

import { Bridge } from "./bridge.ts";
import { filterMarkerS } from "./generated/constants.gen.ts";
import { layouts } from "./generated/layouts.gen.ts";
import {
  RT_ADAPTER_FILTER_A,
  RT_ADAPTER_FILTER_S,
  RT_ADAPTER_PLUGIN,
} from "./generated/ops.gen.ts";
import { nativeFilter } from "./native-filter.ts";
import type { NativeModule } from "./native-module.ts";
import { nativePlugin } from "./native-plugin.ts";

export interface NativeOptions {
  /** What the user says the filter's form is, where it cannot be told. */
  readonly generation?: "A" | "S" | undefined;
  /** The most native threads that one connection may hold. */
  readonly threads: number;
}

type StructLayout = (typeof layouts)["filterA" | "filterS" | "plugin"];

let bridge: Bridge | undefined;

/** Load the shared object at `path` as the kind of module that was asked for. Throws ConfigError. */
export function loadNativeLayer(
  kind: "filter" | "plugin",
  path: string,
  options: NativeOptions,
): Layer {
  bridge ??= new Bridge();
  const { native } = bridge;
  const library = native.rt_dlopen(path);
  if (library === null) throw new ConfigError(`${path}: ${loadProblem(bridge, path)}`);
  const init = native.rt_dlsym(library, `${kind}_init`);
  if (init === null) {
    const other = kind === "filter" ? "plugin" : "filter";
    throw new ConfigError(
      native.rt_dlsym(library, `${other}_init`) === null
        ? `${path}: this is no nbdkit ${kind}: it has no ${kind}_init`
        : `${path}: this is a ${other}, but it was given as a ${kind}`,
    );
  }
  const struct = native.rt_call_init(init);
  if (struct === null) throw new ConfigError(`${path}: ${kind} registration function failed`);
  // An address of the user half is a safe integer, so not one of the bigints of the type.
  return kind === "filter"
    ? loadFilter(bridge, path, struct as Pointer, options)
    : loadPlugin(bridge, path, struct as Pointer, options);
}

/** Why dlopen failed: libc's own words, without the path that most of them begin with. */
function loadProblem(of: Bridge, path: string): string {
  const text = of.native.rt_dlerror();
  const words = text === null ? "dlopen failed" : new CString(text).toString();
  const reason = words.startsWith(`${path}: `) ? words.slice(path.length + 2) : words;
  const missing = /undefined symbol: (nbdkit_\w+)/.exec(reason)?.[1];
  return missing === undefined
    ? reason
    : `${reason}: the module needs ${missing}, which this version of nbdkit does not have`;
}

// ---- filters

function loadFilter(
  of: Bridge,
  path: string,
  struct: Pointer,
  { generation, threads }: NativeOptions,
): Layer {
  const size = read.u64(struct, layouts.filterS.fields._struct_size.offset);
  const apiVersion = read.i32(struct, layouts.filterS.fields._api_version.offset);
  checkFilterApi(path, struct, size, apiVersion);
  const form = filterForm(path, struct, generation);
  const layout = form === "S" ? layouts.filterS : layouts.filterA;
  const adapter = form === "S" ? RT_ADAPTER_FILTER_S : RT_ADAPTER_FILTER_A;
  const model = form === "S" ? 0 : read.i32(struct, layouts.filterA.fields._thread_model.offset);
  if (model < 0 || model > 3) {
    throw new ConfigError(`${path}: filter has thread model ${model}: expected 0 to 3`);
  }
  const module = register(of, path, struct, Number(size), layout, {
    adapter,
    threads,
    apiVersion,
    model,
  });
  checkName(module, "filter", /^[a-zA-Z0-9]+$/, "contain only ASCII alphanumeric characters");
  return nativeFilter(module, form);
}

/** Whether the struct starts as generations S and A do; else say what it may be instead. */
function checkFilterApi(path: string, struct: Pointer, size: bigint, apiVersion: number): void {
  const first = read.i32(struct, 0);
  const least = layouts.filterS.fields.name.offset + 8;
  // From 1.4 on the struct starts with the API number and has no size.
  if (first >= 2 && first <= 6) {
    throw new ConfigError(
      `${path}: filter is incompatible with this version of nbdkit (_api_version = ${first}): ` +
        "it was compiled for nbdkit 1.4 or later; filters for nbdkit 1.2 and before can be run",
    );
  }
  if (size > 0xffffffffn) {
    throw new ConfigError(
      `${path}: filter has an unknown form (it starts with ${size}): it cannot be run`,
    );
  }
  if (apiVersion !== 1) {
    throw new ConfigError(
      `${path}: filter is incompatible with this version of nbdkit (_api_version = ${apiVersion}, need 1)`,
    );
  }
  if (size < BigInt(least)) {
    throw new ConfigError(
      `${path}: filter has _struct_size ${size}, too small to hold its name: expected at least ${least}`,
    );
  }
}

/** S, A, or that it cannot be told: see include/nbdkit-filter.h for the marker. */
function filterForm(
  path: string,
  struct: Pointer,
  wanted: "A" | "S" | undefined,
): "A" | "S" | "either" {
  const word = read.i32(struct, layouts.filterA.fields._thread_model.offset);
  if (word === filterMarkerS) {
    if (wanted !== "A") return "S";
    throw new ConfigError(
      `${path}: this filter is marked as one of generation S, but --filter-generation says A: leave the option out`,
    );
  }
  if (wanted !== undefined) return wanted;
  if (word !== 0) return "A";
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
  return "either";
}

// ---- plugins

/** No struct of any release comes near it: such a number is no size. */
const largestPlugin = 0xffffn;

function loadPlugin(of: Bridge, path: string, struct: Pointer, { threads }: NativeOptions): Layer {
  const { fields } = layouts.plugin;
  const size = read.u64(struct, fields._struct_size.offset);
  const apiVersion = read.i32(struct, fields._api_version.offset);
  if (apiVersion !== 1 && apiVersion !== 2) {
    throw new ConfigError(
      `${path}: plugin is incompatible with this version of nbdkit (_api_version = ${apiVersion}, need 1 or 2)`,
    );
  }
  const least = fields.name.offset + 8;
  if (size > largestPlugin) {
    throw new ConfigError(
      `${path}: plugin has _struct_size ${size}: expected at most ${largestPlugin}`,
    );
  }
  if (size < BigInt(least)) {
    throw new ConfigError(
      `${path}: plugin has _struct_size ${size}: expected at least ${least}, so that it can hold its name`,
    );
  }
  const model = read.i32(struct, fields._thread_model.offset);
  if (model < 0 || model > 3) {
    throw new ConfigError(`${path}: plugin has thread model ${model}: expected 0 to 3`);
  }
  const adapter = RT_ADAPTER_PLUGIN;
  const module = register(of, path, struct, Number(size), layouts.plugin, {
    adapter,
    threads,
    apiVersion,
    model,
  });
  for (const callbacks of [["open"], ["get_size"], ["pread", "_pread_v1"]]) {
    if (!callbacks.some((callback) => module.has(callback))) {
      throw new ConfigError(`${path}: plugin must have a .${callbacks[0]} callback`);
    }
  }
  checkName(
    module,
    "plugin",
    /^[a-zA-Z0-9][a-zA-Z0-9-]*$/,
    "contain only ASCII alphanumeric characters or dashes, starting with a letter or digit",
  );
  return nativePlugin(module);
}

// ---- both

interface Registration {
  readonly adapter: number;
  readonly threads: number;
  readonly apiVersion: number;
  readonly model: number;
}

/** Copies stay as long as C may call into the module: for ever. */
const kept: Uint8Array[] = [];

/** Copy what both know of the struct: an older module's missing fields read as NULL, a newer one's are ignored. */
function register(
  of: Bridge,
  path: string,
  struct: Pointer,
  structSize: number,
  layout: StructLayout,
  { adapter, threads, apiVersion, model }: Registration,
): NativeModule {
  const copy = new Uint8Array(new ArrayBuffer(layout.size));
  const common = Math.min(layout.size, structSize);
  copy.set(new Uint8Array(toArrayBuffer(struct, 0, common)));
  kept.push(copy);
  const view = new DataView(copy.buffer);
  const fields: Readonly<Record<string, { readonly offset: number }>> = layout.fields;
  // A field that the module's struct holds only in part is not there.
  const pointer = (field: string): bigint => {
    const offset = fields[field]?.offset;
    return offset === undefined || offset + 8 > structSize ? 0n : view.getBigUint64(offset, true);
  };
  const module = of.native.rt_module_add(adapter, copy);
  if (module < 0) throw new ConfigError(`${path}: too many C modules are loaded`);
  return {
    bridge: of,
    path,
    module,
    threads,
    apiVersion,
    structSize,
    threadModel: model,
    has: (callback) => pointer(callback) !== 0n,
    text: (field) => {
      const address = pointer(field);
      // As above: an address of the user half.
      return address === 0n ? undefined : new CString(Number(address) as Pointer).toString();
    },
    integer: (field) => {
      const offset = fields[field]?.offset;
      return offset === undefined || offset + 4 > structSize ? 0 : view.getInt32(offset, true);
    },
  };
}

function checkName(module: NativeModule, kind: string, accepted: RegExp, words: string): void {
  const name = module.text("name");
  if (name === undefined) throw new ConfigError(`${module.path}: ${kind} must have a .name field`);
  if (name === "") throw new ConfigError(`${module.path}: ${kind}.name field must not be empty`);
  if (!accepted.test(name)) {
    throw new ConfigError(`${module.path}: ${kind}.name ('${name}') field must ${words}`);
  }
}
