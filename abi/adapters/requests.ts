/** Requests of a C layer: what it has a callback for, by the number of that callback. */
import type { DirectMethod, Draft, LayerContext } from "#chain/layer";

import type { NativeCalls } from "./layer.ts";
import { nativeExtents } from "./lists.ts";
import type { NativeModule } from "./loaded-module.ts";

/** The number of the callback for each request, if the module has one. */
export type RequestOps = Readonly<Record<DirectMethod | "zero", number | undefined>>;

export function addRequests(
  draft: Draft,
  module: NativeModule,
  native: NativeCalls,
  { pread, pwrite, flush, trim, zero, cache }: RequestOps,
): void {
  const transfer =
    (op: number) => (context: LayerContext, buf: Uint8Array, offset: bigint, flags: number) =>
      native.transfer(context, op, buf, offset, flags);
  const range =
    (op: number) => (context: LayerContext, count: number, offset: bigint, flags: number) =>
      native.data(context, op, { type: "range", offset, count, flags });
  if (pread !== undefined) draft.pread = transfer(pread);
  if (pwrite !== undefined) draft.pwrite = transfer(pwrite);
  if (flush !== undefined) {
    draft.flush = (context, flags) => native.data(context, flush, { type: "flush", flags });
  }
  if (trim !== undefined) draft.trim = range(trim);
  if (zero !== undefined) draft.zero = range(zero);
  if (cache !== undefined) draft.cache = range(cache);
  if (module.has("extents")) draft.extents = nativeExtents(module, native);
}
