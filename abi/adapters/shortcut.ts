/** Decides which requests from one C layer to the next can skip JavaScript. */
import { type Pointer, ptr } from "bun:ffi";

import type { DirectMethod, Layer, LayerContext } from "#chain/layer";
import { type Request, rowOf } from "#chain/methods";

import type { Bridge } from "../bridge/bridge.ts";
import type { NativeConnection } from "../bridge/connection.ts";
import { layouts } from "../generated/layouts.gen.ts";
import { Memory, writeDirect } from "../generated/messages.gen.ts";
import type { NativeHandle } from "./layer.ts";
import type { NativeModule } from "./loaded-module.ts";
import { callbackFor } from "./request-callback.ts";

/** What C needs to call a C layer without JavaScript. */
interface Callable {
  readonly module: NativeModule;
  /** Whether errno counts after a -1, if the callback has set no error. */
  readonly errnoCounts: boolean;
}

/** Layers that are C modules. */
const callables = new WeakMap<Layer, Callable>();

/** The requests that C can make without JavaScript. */
const direct: Readonly<Record<DirectMethod, true>> = {
  pread: true,
  pwrite: true,
  flush: true,
  trim: true,
  cache: true,
};

function isDirect(request: Request): request is DirectMethod {
  return Object.hasOwn(direct, request);
}

/** Allow C layers above `layer` to call it without JavaScript. */
export function offerShortcut(layer: Layer, module: NativeModule, errnoCounts: boolean): void {
  callables.set(layer, { module, errnoCounts });
}

/** The struct rt_direct that is written for each shortcut. The runtime copies it. */
const memory = new Memory(new ArrayBuffer(layouts.direct.size));
const NO_DESCRIPTOR = -1;
const noCallback = { op: 0, module: 0, errnoCounts: false, nxdata: 0, handle: 0, exportName: 0 };

/** The shortcuts of one connection. */
export type Shortcuts = Set<Shortcut>;

const byConnection = new WeakMap<NativeConnection, Shortcuts>();

export function shortcutsOf(connection: NativeConnection): Shortcuts {
  let shortcuts = byConnection.get(connection);
  if (shortcuts === undefined) byConnection.set(connection, (shortcuts = new Set()));
  return shortcuts;
}

/** Drop all shortcuts of a connection, since a layer of it gets others below it. */
export function forgetShortcuts(group: Shortcuts): void {
  for (const shortcut of group) shortcut.forget();
}

/** Tells C which requests through one nxdata it may pass to the layer below without JavaScript. */
export class Shortcut {
  readonly #bridge: Bridge;
  readonly #nxdata: number;
  /** The shortcuts of the same connection. */
  readonly #group: Shortcuts;
  readonly #tried = new Set<Request>();

  constructor(bridge: Bridge, nxdata: number, group: Shortcuts) {
    this.#bridge = bridge;
    this.#nxdata = nxdata;
    this.#group = group;
    group.add(this);
  }

  /** Whether a shortcut for this kind of request has been looked for. */
  tried(method: Request): boolean {
    return this.#tried.has(method);
  }

  /** A request of this kind has gone through `next`: allow C the ones like it, if it can make them. */
  take(method: Request, next: LayerContext): void {
    this.#tried.add(method);
    if (!isDirect(method)) return;
    const target = next.target(method);
    if (target === undefined) return;
    const { layer, offset: shift, size } = target;
    const callable = callables.get(layer);
    const row = callable && callbackFor(callable.module, method);
    if (callable !== undefined && row !== undefined) {
      // The layer is in `callables`, so an adapter of this room has opened it.
      const { pointer: handle, nxdata, exportName } = target.handle as NativeHandle;
      const { module, errnoCounts } = callable;
      const callback = {
        op: row.op,
        module: module.module,
        errnoCounts,
        nxdata,
        handle,
        exportName,
      };
      writeDirect(memory, 0, { size, shift, descriptor: NO_DESCRIPTOR, ...callback });
    } else {
      const { descriptor } = target;
      if (descriptor === undefined || (method !== "pread" && method !== "pwrite")) return;
      writeDirect(memory, 0, { size, shift, descriptor, ...noCallback });
    }
    // An address of the user half: see bridge.ts.
    const nxdata = this.#nxdata as Pointer;
    this.#bridge.native.rt_next_direct(nxdata, rowOf(method).op, ptr(memory.u8));
  }

  /** Drop it: C sends requests to JavaScript again. */
  forget(): void {
    this.#tried.clear();
    this.#bridge.forget(this.#nxdata);
  }

  /** The nxdata is about to be freed. */
  end(): void {
    this.#group.delete(this);
  }
}
