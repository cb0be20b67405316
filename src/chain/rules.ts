/** What the layer above must keep to: where nbdkit asserts, this throws. nbdkit-filter(3), "CALLBACKS". */
import { after } from "../api/awaitable.ts";
import { callbacks } from "../api/generated/callbacks.gen.ts";
import { FLAG_FUA } from "../api/generated/constants.gen.ts";
import type { Awaitable } from "../api/generated/methods.gen.ts";
import { NbdError } from "../lib/errors.ts";
import { withType } from "./answers.ts";
import type { Context } from "./context.ts";
import type { Request } from "./methods.ts";

export function refuse({ state }: Context, what: string): never {
  return state.link.refuse(what);
}

export function mustBeOpen(context: Context, method: string): void {
  const { state, user } = context;
  if (state.open) return;
  if (!state.isRetired || user === undefined) refuse(context, `${method}, but it is not open`);
  const what = "for a call that it had answered already: only the next of prepare is for that";
  throw new NbdError("EIO", `${user.name}: next.${method} was called ${what}`);
}

export function mustBePrepared(context: Context, method: string): void {
  mustBeOpen(context, method);
  if (context.state.prepared) return;
  if (!context.connection.ended.aborted) refuse(context, `${method}, but it is not prepared`);
  // A thread of a filter does not know yet that the client has left: readahead's, at every other disconnect.
  context.trace(`${method} for a client that is gone`);
  throw new NbdError("ESHUTDOWN", "");
}

/** Refuse flags that the request cannot have. */
export function accept(context: Context, method: Request, flags: number): void {
  const unknown = flags & ~callbacks[method].flags;
  if (unknown) refuse(context, `${method} with unknown flags ${unknown}`);
  if (flags & FLAG_FUA && context.state.answers.canFua === "none") {
    refuse(context, `${method} with FUA, which it cannot do`);
  }
}

/** Ask what was not asked yet, then refuse the request or go on with it. */
export function learn(
  context: Context,
  method: DataMethod,
  count: number,
  offset: bigint,
  go: () => Awaitable<void>,
): Awaitable<void> {
  mustBePrepared(context, method);
  mustBeRange(context, method, count, offset);
  return after(context.getSize(), (size) =>
    after(askAllowed(context, method), (allowed) => {
      if (!allowed) refuse(context, `${method}, which it cannot do`);
      if (context.state.fits(count, offset)) return go();
      const range = `count=${count} offset=${offset}`;
      return refuse(context, `${method} ${range}, outside its size (${size})`);
    }),
  );
}

/** The types tell authors so, but nothing holds modules without a type check to them. */
function mustBeRange(context: Context, method: string, count: unknown, offset: unknown): void {
  if (typeof offset !== "bigint") {
    refuse(context, `${method} with an offset of ${withType(offset)}: expected a bigint`);
  }
  if (typeof count !== "number" || !Number.isSafeInteger(count)) {
    const given = method === "pread" || method === "pwrite" ? "a buffer" : "a count";
    refuse(context, `${method} without ${given}: its length is ${withType(count)}`);
  }
}

/** Requests for a range. */
type DataMethod = Exclude<Request, "flush">;

/** Whether the layer takes such requests. */
function askAllowed(context: Context, method: DataMethod): Awaitable<boolean> {
  switch (method) {
    case "pread":
      return true;
    case "pwrite":
      return context.canWrite();
    case "trim":
      return context.canTrim();
    case "zero":
      return after(context.canZero(), (can) => can !== "none");
    case "extents":
      // Who cannot tell gets a default; only the answer is needed.
      return after(context.canExtents(), () => true);
    case "cache":
      return after(context.canCache(), (can) => can !== "none");
    default:
      return method satisfies never;
  }
}
