/** Requests for data between the chain and C: a loop over codegen's table of callbacks, but for pread and pwrite. */
import { after } from "#api";
import { type Callback, callbacks } from "#api/generated/callbacks.gen";
import type { Awaitable } from "#api/generated/methods.gen";
import type { Draft, LayerContext } from "#chain/layer";
import { type MethodsWith, type Request, requests, rowOf } from "#chain/methods";

import { readData, readFlush, readMapping, readRange } from "../generated/messages.gen.ts";
import type { NativeCalls } from "./layer.ts";
import { addToExtents, extentsOf, nativeExtents } from "./lists.ts";
import type { NativeModule } from "./loaded-module.ts";
import type { BelowCall, Caller } from "./next-call.ts";
import { callbackFor, type RequestRow } from "./request-callback.ts";

/** Add the requests that the module has callbacks for. Callbacks without flags get only calls without flags. */
export function addRequests(draft: Draft, module: NativeModule, native: NativeCalls): void {
  for (const request of requests) {
    const row = callbackFor(module, request);
    // Object.assign, since the compiler cannot relate the name to the type of its method in a loop.
    if (row !== undefined) Object.assign(draft, { [request]: called(module, native, row) });
  }
}

function called(module: NativeModule, native: NativeCalls, row: RequestRow): unknown {
  switch (row.carries) {
    case "data":
      return (context: LayerContext, buf: Uint8Array, offset: bigint, flags: number) =>
        native.transfer(context, row.op, buf, offset, flags);
    case "range":
      return (context: LayerContext, count: number, offset: bigint, flags: number) =>
        native.data(context, row.op, { type: "range", offset, count, flags });
    case "flush":
      return (context: LayerContext, flags: number) =>
        native.data(context, row.op, { type: "flush", flags });
    case "mapping":
      return nativeExtents(module, native);
    default:
      return row satisfies never;
  }
}

/** The requests of a C filter to the layer below, by op. */
export const requestsBelow = new Map<number, BelowCall>();

// Most calls are reads and writes, so these two are written out, and the others are loops over the table.
requestsBelow.set(callbacks.pread.op, (next, message, caller) => {
  const { buf, offset, count, flags } = message.read(readData);
  return done(caller, next, "pread", next.pread(message.view(buf, count), offset, flags));
});
requestsBelow.set(callbacks.pwrite.op, (next, message, caller) => {
  const { buf, offset, count, flags } = message.read(readData);
  return done(caller, next, "pwrite", next.pwrite(message.view(buf, count), offset, flags));
});
for (const method of carrying("range")) {
  requestsBelow.set(rowOf(method).op, (next, message, caller) => {
    const { offset, count, flags } = message.read(readRange);
    return done(caller, next, method, next[method](count, offset, flags));
  });
}
for (const method of carrying("flush")) {
  requestsBelow.set(rowOf(method).op, (next, message, caller) =>
    done(caller, next, method, next[method](message.read(readFlush).flags)),
  );
}
for (const method of carrying("mapping")) {
  requestsBelow.set(rowOf(method).op, (next, message, { module }) => {
    const { extents: list, offset, count, flags } = message.read(readMapping);
    const extents = extentsOf(module.bridge, list);
    return after(next[method](count, offset, flags, extents), () =>
      addToExtents(module.bridge, list, extents),
    );
  });
}

/** The requests whose arguments are this struct in messages. */
function carrying<C extends NonNullable<Callback["carries"]>>(carries: C) {
  return requests.filter(
    (request): request is MethodsWith<{ carries: C }> & Request =>
      rowOf(request).carries === carries,
  );
}

/** Once the request has passed all checks, allow C to make the next one of its kind without JavaScript. */
function done(
  { shortcut }: Caller,
  next: LayerContext,
  method: Request,
  result: Awaitable<void>,
): Awaitable<void> {
  if (shortcut.tried(method)) return result;
  return after(result, () => shortcut.take(method, next));
}
