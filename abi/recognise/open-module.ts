/** Loads a shared object and calls its init function, which is the first step of every use of a module. */
import type { Pointer } from "bun:ffi";
import { readFileSync } from "node:fs";

import { ConfigError } from "#api";
import { filePath } from "#lib/text-bytes";
import { callsOf, fixed } from "#sys/call";
import { offsetOf, sizeOf } from "#sys/generated/libc.gen";
import { restoreOpenFiles } from "#sys/open-files";
import { cString, textAt as textAtPointer } from "#sys/text";

import type { Native } from "../runtime/native-runtime.ts";
import { readElf } from "./elf.ts";
import type { FilterHead } from "./layout.ts";
import { copyMemory, copyText } from "./memory.ts";

export type ModuleKind = "filter" | "plugin";

export interface OpenedModule {
  readonly kind: ModuleKind;
  readonly path: string;
  /** The result of dlopen(3). */
  readonly library: Pointer;
  /** The address at which the file was loaded. */
  readonly base: number;
  /** The address of the module's struct. */
  readonly struct: number;
}

/** Stands for the calling thread. */
const noSlot = -1;

/**
 * Load the shared object at `path` as a module of this kind, or of any kind. The thread of `slot`, which must be idle,
 * runs the module's code. Throws ConfigError.
 */
export function openModule(
  native: Native,
  path: string,
  wanted?: ModuleKind,
  slot = noSlot,
): OpenedModule {
  restoreOpenFiles();
  const library = native.rt_dlopen(cString(path), slot);
  if (library === null) throw new ConfigError(`${path}: ${loadProblem(native, path)}`);
  const kind = kindOf(path, wanted, (name) => native.rt_dlsym(library, name) !== null);
  const init = native.rt_dlsym(library, `${kind}_init`);
  const struct = init === null ? null : native.rt_call_init(init, slot);
  if (init === null || struct === null) {
    throw new ConfigError(`${path}: ${kind} registration function failed`);
  }
  // Addresses of user space are safe integers, so they are never the bigints of the type.
  return { kind, path, library: library as Pointer, base: baseOf(init), struct: Number(struct) };
}

/** The kind of module that has these functions. Throws ConfigError if it is none, or not the wanted one. */
export function kindOf(
  path: string,
  wanted: ModuleKind | undefined,
  has: (symbol: string) => boolean,
): ModuleKind {
  const isA = (kind: ModuleKind): boolean => has(`${kind}_init`);
  const kind = wanted ?? (isA("filter") ? "filter" : "plugin");
  if (isA(kind)) return kind;
  const other = kind === "filter" ? "plugin" : "filter";
  if (isA(other)) {
    throw new ConfigError(`${path}: this is a ${other}, but it was given as a ${kind}`);
  }
  throw new ConfigError(
    wanted === undefined
      ? `${path}: not an nbdkit module: it has neither filter_init nor plugin_init`
      : `${path}: this is no nbdkit ${kind}: it has no ${kind}_init`,
  );
}

/** Why dlopen failed: libc's message, without the path that it usually begins with. */
function loadProblem(native: Native, path: string): string {
  const text = native.rt_dlerror();
  const words = text === null ? "dlopen failed" : textAtPointer(text as Pointer);
  const reason = words.startsWith(`${path}: `) ? words.slice(path.length + 2) : words;
  const missing = /undefined symbol: (nbdkit_\w+)/.exec(reason)?.[1];
  return missing === undefined
    ? reason
    : `${reason}: the module needs ${missing}, which this version of nbdkit does not have`;
}

const libc = callsOf("dladdr");

/** The address at which the file that contains `address` was loaded: dladdr(3). */
function baseOf(address: Pointer | bigint): number {
  const info = fixed(BigUint64Array, sizeOf.Dl_info / BigUint64Array.BYTES_PER_ELEMENT);
  const base = offsetOf.Dl_info.dli_fbase / BigUint64Array.BYTES_PER_ELEMENT;
  return libc().dladdr(address, info) === 0 ? 0 : Number(info[base]);
}

/** The first `count` bytes of the struct. Throws ConfigError if they cannot be read. */
export function structBytes({ path, kind, struct }: OpenedModule, count: number): Uint8Array {
  const bytes = copyMemory(struct, count);
  if (bytes !== undefined) return bytes;
  throw new ConfigError(
    `${path}: ${kind}_init returned 0x${struct.toString(16)}, where there are no ${count} bytes that can be read`,
  );
}

/** The string at the address in `field`. Throws ConfigError if it cannot be read. */
export function textAt(
  { path, kind }: Pick<OpenedModule, "kind" | "path">,
  field: string,
  address: bigint,
): string | undefined {
  if (address === 0n) return undefined;
  const text = copyText(Number(address));
  if (text !== undefined) return text;
  throw new ConfigError(
    `${path}: ${kind}.${field} is 0x${address.toString(16)}, where there is no text that can be read`,
  );
}

/** Whether a text can be read at the address. */
export function isText(address: bigint): boolean {
  return copyText(Number(address)) !== undefined;
}

/** Whether the address belongs to the module's file. */
export function hasAddress({ base }: OpenedModule, address: bigint): boolean {
  return baseOf(address) === base;
}

/** Enough to tell the layouts apart. No struct is shorter. */
const headBytes = 32;

export function filterHead(module: OpenedModule): FilterHead {
  const bytes = structBytes(module, headBytes);
  const view = new DataView(bytes.buffer);
  return {
    size: view.getBigUint64(0, true),
    first: view.getInt32(0, true),
    second: view.getInt32(8, true),
    third: view.getInt32(12, true),
    text: (offset) => {
      const field = offset === 8 ? "_version" : "version";
      return textAt(module, field, view.getBigUint64(offset, true));
    },
    symbolSize: () => symbolSize(module),
  };
}

/** The size of the struct in the symbols for debuggers, which most installed files lack. */
function symbolSize({ path, base, struct }: OpenedModule): number | undefined {
  const value = BigInt(struct - base);
  const { symbols } = readElf(readFileSync(filePath(path)));
  return symbols.find((it) => it.kind === "object" && it.value === value)?.size;
}
