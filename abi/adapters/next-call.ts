/** A call of a C filter to the layer below, in a connection: `next->…`. */
import type { LayerContext } from "#chain/layer";

import type { NativeConnection } from "../bridge/connection.ts";
import type { Answered, Message } from "../bridge/upcall.ts";
import type { FilterModule } from "./loaded-module.ts";
import type { Shortcut } from "./shortcut.ts";

/** The filter that calls, in one connection. */
export interface Caller {
  readonly module: FilterModule;
  readonly connection: NativeConnection;
  readonly shortcut: Shortcut;
}

/** Passes a call on to `next`, the checked layer below. */
export type BelowCall = (next: LayerContext, message: Message, caller: Caller) => Answered;
