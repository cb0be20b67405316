/** A loaded C module as its adapter sees it. */
import type { Bridge } from "../bridge/bridge.ts";
import type { Release } from "../generated/releases.gen.ts";

/** A module's struct, copied into a zeroed one of ours. */
export interface NativeModule {
  readonly bridge: Bridge;
  readonly path: string;
  /** The number that calls name it by. */
  readonly module: number;
  readonly threads: number;
  readonly apiVersion: number;
  /** As the module was compiled. */
  readonly structSize: number;
  readonly threadModel: number;
  /** Whether the callback is there. */
  has(callback: string): boolean;
  /** A string field, or undefined where it is NULL. */
  text(field: string): string | undefined;
  integer(field: string): number;
}

/** A filter. */
export interface FilterModule extends NativeModule {
  /** What its layout has. */
  readonly form: Release;
}
