/** A loaded C module as its adapter sees it. */
import type { Bridge } from "../bridge/bridge.ts";
import type { Generation } from "../generated/generations.gen.ts";
import type { GenerationId } from "../recognise/generation-ids.ts";

/** A module's struct, copied into a zeroed one of ours. */
export interface NativeModule {
  readonly bridge: Bridge;
  readonly path: string;
  /** The number that calls name it by. */
  readonly module: number;
  readonly threads: number;
  /** Of a filter. "either" is S or A, which shows when it is opened. */
  readonly generation?: GenerationId | "either" | undefined;
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
  /** What its generation has; where it is S or A, what both have. */
  readonly form: Generation;
}
