/** Finds the callback of a C module for a request: plugins of API 1 have some in another form. */
import { callbacks } from "#api/generated/callbacks.gen";
import { methods, type MethodsWith, type Request, rowOf } from "#chain/methods";

import type { NativeModule } from "./loaded-module.ts";

/** Callbacks of plugins of API 1 that have another form in API 2. */
type Replaced = MethodsWith<{ replacedBy: string }>;

const replaced = methods.filter(
  (method): method is Replaced => rowOf(method).replacedBy !== undefined,
);

/** The row of a callback for requests. */
export type RequestRow = (typeof callbacks)[Replaced | Request];

/** The callback for a request, in the newest form that the module has. */
export function callbackFor(module: NativeModule, request: Request): RequestRow | undefined {
  const old = replaced.find((name) => callbacks[name].replacedBy === request);
  const forms = [callbacks[request], ...(old === undefined ? [] : [callbacks[old]])];
  return forms.find(({ cName }) => module.has(cName));
}
