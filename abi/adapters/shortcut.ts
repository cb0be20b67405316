/** Requests from one C layer to the next that need not come to JavaScript: which they are is decided here. */
import { type Pointer, ptr } from "bun:ffi";

import type { DirectMethod, Layer, LayerContext } from "#chain/layer";

import type { Bridge } from "../bridge/bridge.ts";
import type { NativeConnection } from "../bridge/connection.ts";
import { layouts } from "../generated/layouts.gen.ts";
import { Memory, writeDirect } from "../generated/messages.gen.ts";
import * as op from "../generated/ops.gen.ts";
import type { NativeHandle } from "./layer.ts";
import type { NativeModule } from "./loaded-module.ts";

type Ops = Readonly<Record<DirectMethod, number | undefined>>;

/** How C can call a C layer by itself. */
interface Callable {
  readonly module: number;
  readonly ops: Ops;
  /** A -1 means errno, where nothing better was said. */
  readonly errnoCounts: boolean;
}

/** Layers that are C modules. */
const callables = new WeakMap<Layer, Callable>();

/** What a filter's `next->…` has for the request; also its own callback's number. */
export const filterOps: Readonly<Record<DirectMethod, number>> = {
  pread: op.RT_OP_PREAD,
  pwrite: op.RT_OP_PWRITE,
  flush: op.RT_OP_FLUSH,
  trim: op.RT_OP_TRIM,
  cache: op.RT_OP_CACHE,
};

/** C layers above `layer` may call it without JavaScript. */
export function offerShortcut(
  layer: Layer,
  { module }: NativeModule,
  ops: Ops,
  errnoCounts: boolean,
): void {
  callables.set(layer, { module, ops, errnoCounts });
}

/** A struct rt_direct, which the runtime copies. */
const memory = new Memory(new ArrayBuffer(layouts.direct.size));
const NO_DESCRIPTOR = -1;
const noCallback = { op: 0, module: 0, errnoCounts: false, nxdata: 0, handle: 0, exportName: 0 };

/** All those of a connection. */
export type Shortcuts = Set<Shortcut>;

const byConnection = new WeakMap<NativeConnection, Shortcuts>();

/** Those of all layers of one connection. */
export function shortcutsOf(connection: NativeConnection): Shortcuts {
  let shortcuts = byConnection.get(connection);
  if (shortcuts === undefined) byConnection.set(connection, (shortcuts = new Set()));
  return shortcuts;
}

/** A layer of the connection gets others below it: C has to ask again, wherever it took a shortcut past it. */
export function forgetShortcuts(group: Shortcuts): void {
  for (const shortcut of group) shortcut.forget();
}

/** Tells C which requests through one nxdata it may take to the layer below by itself. */
export class Shortcut {
  readonly #bridge: Bridge;
  readonly #nxdata: number;
  /** Those of the same connection. */
  readonly #group: Shortcuts;
  readonly #tried = new Set<DirectMethod>();

  constructor(bridge: Bridge, nxdata: number, group: Shortcuts) {
    this.#bridge = bridge;
    this.#nxdata = nxdata;
    this.#group = group;
    group.add(this);
  }

  /** Whether it was decided for this kind of request. */
  tried(method: DirectMethod): boolean {
    return this.#tried.has(method);
  }

  /** A request of this kind has been done by `next`: let C do those that are like it, if it can. */
  take(method: DirectMethod, next: LayerContext): void {
    this.#tried.add(method);
    const target = next.target(method);
    if (target === undefined) return;
    const { context, layer, offset: shift, size } = target;
    const callable = callables.get(layer);
    const number = callable?.ops[method];
    if (callable !== undefined && number !== undefined) {
      // The handle is the one of the adapter that made itself known with the layer.
      const { pointer: handle, nxdata, exportName } = context.handle as NativeHandle;
      const { module, errnoCounts } = callable;
      const callback = { op: number, module, errnoCounts, nxdata, handle, exportName };
      writeDirect(memory, 0, { size, shift, descriptor: NO_DESCRIPTOR, ...callback });
    } else {
      const { descriptor } = target;
      if (descriptor === undefined || (method !== "pread" && method !== "pwrite")) return;
      writeDirect(memory, 0, { size, shift, descriptor, ...noCallback });
    }
    // An address of the user half: see bridge.ts.
    const nxdata = this.#nxdata as Pointer;
    this.#bridge.native.rt_next_direct(nxdata, filterOps[method], ptr(memory.u8));
  }

  /** C has to ask again. */
  forget(): void {
    this.#tried.clear();
    this.#bridge.forget(this.#nxdata);
  }

  /** C has no use for the nxdata any more. */
  end(): void {
    this.#group.delete(this);
  }
}
