/** Copies lists of extents and exports between JavaScript and C, for the callbacks that take one. */
import type { Pointer } from "bun:ffi";

import { NbdError } from "#api";
import type { Draft } from "#chain/layer";
import { errnoName } from "#lib/errno";
import type { Exports } from "#lib/exports";
import { Extents } from "#lib/extents";
import { cString, textAt } from "#sys/text";

import type { Bridge } from "../bridge/bridge.ts";
import { RT_OP_EXTENTS } from "../generated/ops.gen.ts";
import type { NativeCalls } from "./layer.ts";
import { extentsPerCall } from "./limits.ts";
import type { NativeModule } from "./loaded-module.ts";

/** A list in C that is freed at the end of the block. */
export interface NativeList extends Disposable {
  readonly pointer: number;
}

/** An extent is passed as its offset, its length and its type. */
const perEntry = 3;

// ---- extents

/** A list in C for the part of the range that `extents` does not cover yet. */
function newExtents({ native }: Bridge, extents: Extents): NativeList {
  const pointer = native.rt_extents_new(new BigUint64Array([extents.covered, extents.end]));
  if (pointer === null) throw new NbdError("ENOMEM", "no memory for a list of extents");
  return listOf(Number(pointer), () => native.rt_extents_free(pointer));
}

/** An empty list for the part of the range that C's list does not cover yet. */
export function extentsOf({ native }: Bridge, list: number): Extents {
  const range = new BigUint64Array(new ArrayBuffer(16));
  native.rt_extents_range(list as Pointer, range);
  return new Extents(range[0] ?? 0n, range[1] ?? 0n);
}

/** Read C's list into `extents`. */
function extentsFrom({ native }: Bridge, list: number, extents: Extents): void {
  const triples = new BigUint64Array(new ArrayBuffer(8 * perEntry * extentsPerCall));
  let first = 0;
  for (;;) {
    const n = native.rt_extents_read(list as Pointer, first, triples, extentsPerCall);
    for (let i = 0; i < n * perEntry; i += perEntry) {
      extents.add(triples[i] ?? 0n, triples[i + 1] ?? 0n, Number(triples[i + 2] ?? 0n));
    }
    if (n < extentsPerCall) return;
    first += n;
  }
}

/** Add `extents` to C's list. */
export function addToExtents({ native }: Bridge, list: number, extents: Extents): void {
  const triples = new BigUint64Array(new ArrayBuffer(8 * perEntry * extentsPerCall));
  let n = 0;
  const append = () => {
    const err = native.rt_extents_append(list as Pointer, triples, n);
    if (err !== 0) throw new NbdError(errnoName(err), "a list of extents cannot be passed to C");
    n = 0;
  };
  for (const { offset, length, type } of extents) {
    triples.set([offset, length, BigInt(type)], n * perEntry);
    n++;
    if (n === extentsPerCall) append();
  }
  append();
}

/** The extents callback of a filter or plugin. */
export function nativeExtents(
  module: NativeModule,
  native: NativeCalls,
): NonNullable<Draft["extents"]> {
  return async (context, count, offset, flags, extents) => {
    using list = newExtents(module.bridge, extents);
    const { pointer } = list;
    await native.data(context, RT_OP_EXTENTS, {
      type: "mapping",
      extents: pointer,
      offset,
      count,
      flags,
    });
    extentsFrom(module.bridge, list.pointer, extents);
  };
}

// ---- exports

export function newExports({ native }: Bridge): NativeList {
  const pointer = native.rt_exports_new();
  if (pointer === null) throw new NbdError("ENOMEM", "no memory for a list of exports");
  return listOf(Number(pointer), () => native.rt_exports_free(pointer));
}

/** Read C's list, from its entry `first` on, into `exports`. */
export function exportsFrom(bridge: Bridge, list: number, exports: Exports, first: number): void {
  const { native } = bridge;
  const pointer = list as Pointer;
  const n = native.rt_exports_count(pointer);
  for (let i = first; i < n; i++) {
    const name = native.rt_exports_name(pointer, i);
    const description = native.rt_exports_description(pointer, i);
    exports.add(
      name === null ? "" : textAt(name as Pointer),
      description === null ? undefined : textAt(description as Pointer),
    );
  }
  if (native.rt_exports_wants_default(pointer) !== 0) exports.useDefault();
}

/** Add `exports` to C's list. */
export function addToExports({ native }: Bridge, list: number, exports: Exports): void {
  const pointer = list as Pointer;
  for (const { name, description } of exports.entries) {
    const err = native.rt_exports_add(
      pointer,
      cString(name),
      description === undefined ? null : cString(description),
    );
    if (err !== 0) throw new NbdError(errnoName(err), "a list of exports cannot be passed to C");
  }
  if (exports.wantsDefault) native.rt_exports_want_default(pointer);
}

function listOf(pointer: number, free: () => void): NativeList {
  return { pointer, [Symbol.dispose]: free };
}
