/** A loaded C module, for its adapter. */
import type { Bridge } from "../bridge/bridge.ts";
import type { Release } from "../generated/releases.gen.ts";

/** The module and a copy of its struct, in which fields that the module lacks are zero. */
export interface NativeModule {
  readonly bridge: Bridge;
  readonly path: string;
  /** Its number in calls. */
  readonly module: number;
  readonly threads: number;
  readonly apiVersion: number;
  /** The size of the struct when the module was compiled. */
  readonly structSize: number;
  readonly threadModel: number;
  /** Whether the module has the callback. */
  has(callback: string): boolean;
  /** A string field, or undefined where it is NULL. */
  text(field: string): string | undefined;
  integer(field: string): number;
}

/** A filter. */
export interface FilterModule extends NativeModule {
  /** The properties of its layout. */
  readonly form: Release;
}
